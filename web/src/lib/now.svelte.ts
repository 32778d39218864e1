/** The present moment for what a page shows, in ms since 1970: moves every 5 s while the page is visible. */
import { createSubscriber } from 'svelte/reactivity';

const EVERY_MS = 5000;

const subscribe = createSubscriber((update) => {
  const tick = () => document.visibilityState === 'visible' && update();
  const timer = setInterval(tick, EVERY_MS);
  document.addEventListener('visibilitychange', tick);
  return () => {
    clearInterval(timer);
    document.removeEventListener('visibilitychange', tick);
  };
});

/** The moment; reactive. */
export function now(): number {
  subscribe();
  return Date.now();
}
