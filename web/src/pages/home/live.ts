/** Keeps what Home shows up to date, without asking more often than it can be read. */
import { queries } from '~/api';
import { onEvents } from '~/live/events.svelte';

/** Least time between two requests for the same, in ms. */
const GAP_MS = 2000;
const SOON_MS = 250;

/** Asks the queries of `keys` again soon after one of these events, and then not before GAP_MS. For `$effect`. */
export function followed(names: readonly string[], ...keys: readonly string[][]): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0;
  const stop = onEvents(names, () => {
    timer ??= setTimeout(
      () => {
        timer = undefined;
        last = Date.now();
        for (const queryKey of keys) void queries.invalidateQueries({ queryKey });
      },
      Math.max(SOON_MS, last + GAP_MS - Date.now()),
    );
  });
  return () => {
    stop();
    clearTimeout(timer);
  };
}
