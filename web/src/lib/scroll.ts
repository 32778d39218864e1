/** Scroll positions of the entries of the browser's history: the way back leads to the place that was left. */
import { tick } from 'svelte';

/** Entries whose positions are kept, at most. */
const MOST = 100;

/** The part of `window` that is used. */
export type Scrolled = Pick<Window, 'scrollY' | 'scrollTo' | 'addEventListener'> & { history: Pick<History, 'state' | 'scrollRestoration'> };

/**
 * Hooks of the router. It scrolls to the top after each navigation, back and forward among them, and tells the entries of the
 * history apart by an index in their state.
 */
export function scrollHooks(page: Scrolled): { beforeLoad: () => void; afterLoad: () => Promise<void> } {
  const positions = new Map<number, number>();
  const entry = () => Number((page.history.state as { _routerIndex?: number } | null)?._routerIndex ?? 0);
  /** The entry whose page is shown; undefined before the first one. */
  let shown: number | undefined;
  let wanted: number | undefined;

  // The browser would scroll the page that is left, before the other one is there. A page that is loaded again is its own matter.
  const mine = () => (page.history.scrollRestoration = 'manual');
  mine();
  page.addEventListener('pageshow', mine);
  page.addEventListener('pagehide', () => (page.history.scrollRestoration = 'auto'));

  return {
    // Comes when nothing keeps the person from leaving any more. The history is at the entry that is gone to only on the way back
    // and forward: a new entry is made later.
    beforeLoad() {
      wanted = undefined;
      if (shown === undefined) return;
      positions.delete(shown);
      positions.set(shown, page.scrollY);
      if (positions.size > MOST) positions.delete(positions.keys().next().value!);
      if (entry() !== shown) wanted = positions.get(entry());
    },
    // Rows that were loaded before are there with the page itself.
    async afterLoad() {
      shown = entry();
      const top = wanted;
      wanted = undefined;
      if (top === undefined) return;
      await tick();
      page.scrollTo({ top, left: 0, behavior: 'instant' });
    },
  };
}
