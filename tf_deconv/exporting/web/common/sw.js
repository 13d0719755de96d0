// Keeps the page, the networks that were used and the runtime, so that they work without a connection.
// Named after the folder too: pages of several networks on one host have a cache each.
const PREFIX = `tf-deconv ${self.registration.scope} `;
const CACHE = `${PREFIX}VERSION`; // Written at export: another network is another cache.
// Large files are kept when they are used: a runtime has three builds, of which a browser takes one, and
// not everybody has films.
const LARGE = /\.(wasm|tflite)$|_internal\.js$|lib\/mediabunny\//;
// Asks the host again, or a new version would be filled with a browser's copies of the old.
const FRESH = { cache: "no-cache" };
// With these a browser lets a page have threads. Many hosts cannot be told to send them.
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

self.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      const facts = await (await fetch("model.json", FRESH)).json();
      const small = facts.page_files.filter((name) => !LARGE.test(name));
      await cache.addAll(["./", ...small].map((name) => new Request(name, FRESH)));
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
      }
      await self.clients.claim();
    })(),
  );
});

const isOurs = (url) => url.startsWith(self.registration.scope);

self.addEventListener("message", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      let kept = true;
      for (const name of event.data.keep ?? []) {
        const { href } = new URL(name, self.registration.scope);
        if (!isOurs(href) || (await cache.match(href, { ignoreSearch: true }))) continue;
        try {
          await cache.add(new Request(href, FRESH));
        } catch (error) {
          console.warn(href, error); // A full disk, say.
          kept = false;
        }
      }
      event.ports[0]?.postMessage({ kept });
    })(),
  );
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return kept;
  const fetched = await fetch(request);
  if (fetched.ok && fetched.status === 200 && isOurs(request.url) && LARGE.test(request.url)) {
    await cache.put(request, fetched.clone()).catch(console.warn); // A full disk, say.
  }
  return fetched;
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !isOurs(request.url)) return;
  event.respondWith(
    (async () => {
      const { status, statusText, headers, body, type } = await answer(request);
      if (type === "opaqueredirect" || type === "error") return fetch(request);
      const isolated = new Headers(headers);
      for (const [name, value] of Object.entries(ISOLATED)) isolated.set(name, value);
      return new Response(body, { status, statusText, headers: isolated });
    })(),
  );
});
