/**
 * What to do when a part of the app could not be loaded: its server is away, or was updated, and its new start page names
 * the new parts. A browser does not ask again for a part that failed, so the page is loaded again.
 */
const RELOADED = 'reloaded-for';
const EVERY_MS = 3000;
/** A network that swallows requests must not keep the page waiting for its first one. */
const PATIENCE_MS = 10_000;
let waiting = false;

/** True when the page is to be loaded again: once by each `build` for an address, as a part may be missing for good. */
export function reloads(build: string, address: string): boolean {
  const key = `${build} ${address}`;
  if (sessionStorage.getItem(RELOADED) === key) return false;
  sessionStorage.setItem(RELOADED, key);
  return true;
}

async function answers(): Promise<boolean> {
  try {
    return (await fetch('/', { method: 'HEAD', cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) })).ok;
  } catch {
    return false;
  }
}

/**
 * Calls `reload` as soon as the server answers, as a page loaded before is the browser's own error page and stays it. Calls
 * `away` first when it does not answer now. Where it always answered, `reload` is called as `reloads` says.
 */
export async function reloadWhenServed(build: string, address: string, { away, reload }: { away: () => void; reload: () => void }): Promise<void> {
  if (waiting) return;
  waiting = true;
  let left = false;
  while (!(await answers())) {
    if (!left) away();
    left = true;
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
  waiting = false;
  if (left || reloads(build, address)) reload();
}
