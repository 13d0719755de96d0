// Keeps the page, the network and the runtime, so that they work without a connection.
// Named after the folder too: pages of several networks on one host have a cache each.
const PREFIX = `tf-deconv ${self.registration.scope} `;
const CACHE = `${PREFIX}VERSION`; // Written at export: another network is another cache.

self.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      // Asks the host again, or a new version would be filled with a browser's copies of the old.
      const fresh = { cache: "no-cache" };
      const facts = await (await fetch("model.json", fresh)).json();
      await cache.addAll(["./", ...facts.page_files].map((name) => new Request(name, fresh)));
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

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(
    (async () => {
      const cache = await caches.open(CACHE);
      return (await cache.match(event.request, { ignoreSearch: true })) ?? fetch(event.request);
    })(),
  );
});
