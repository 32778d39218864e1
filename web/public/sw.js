// Keeps the start page with its files, and further files once they were used, so that the app opens without its server and
// says so. It never keeps an answer of the API.
const FILES = [/* files */];
const SHELL = '/';
// The names of the files hold their contents, so the list names this version.
const CACHE = `mimi-${FILES.join('').split('').reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) | 0, 7)}`;

self.addEventListener('install', (event) => {
  event.waitUntil(
    caches.open(CACHE).then((cache) => cache.addAll([SHELL, ...FILES])).then(() => self.skipWaiting()),
  );
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith('/assets/')) {
    // Its name holds its contents: what was kept once is right.
    event.respondWith(caches.match(event.request).then(async (kept) => {
      if (kept) return kept;
      const fetched = await fetch(event.request);
      if (fetched.ok) {
        const copy = fetched.clone();
        event.waitUntil(caches.open(CACHE).then((cache) => cache.put(event.request, copy)));
      }
      return fetched;
    }));
  } else if (event.request.mode === 'navigate') {
    event.respondWith(fetch(event.request).catch(async (error) => {
      const kept = await caches.match(SHELL);
      if (kept) return kept;
      throw error;
    }));
  }
});
