// Registers the service worker, and tells it what was used: that much of the folder it keeps.

const THREADED = ["js", "wasm"].map((end) => `lib/core/wasm/litert_wasm_threaded_internal.${end}`);
let lastAsked = 0;

/**
 * Keeps the page for use without a connection; `data-kept` of the body is "true" when that is done.
 *
 * @param {string[]} used URLs that a worker fetched, and files that the browser may not list yet.
 */
export async function keepOffline(used = []) {
  const asked = ++lastAsked;
  document.body.dataset.kept = "";
  if (!navigator.serviceWorker) return; // Plain HTTP, but for localhost.
  try {
    await navigator.serviceWorker.register("sw.js");
    const { active } = await navigator.serviceWorker.ready;
    const seen = [...performance.getEntriesByType("resource").map(({ name }) => name), ...used];
    // From the next visit on the page is isolated (sw.js), and its worker takes the build with threads.
    if (used.some((name) => name.includes("litert_wasm_internal.wasm"))) seen.push(...THREADED);
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => {
      if (data.kept && asked === lastAsked) document.body.dataset.kept = "true";
      port1.close();
    };
    active.postMessage({ keep: [...new Set(seen)] }, [port2]);
  } catch (error) {
    console.warn(error); // The page works without, but not offline.
  }
}
