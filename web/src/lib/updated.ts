/** What to do when a part of the app is not there: the server was updated, and its new start page names the new parts. */
const RELOADED = 'reloaded-for';

/** True when the page is to be loaded again: once by each `build` for an address, as a part may be missing for good. */
export function reloads(build: string, address: string): boolean {
  const key = `${build} ${address}`;
  if (sessionStorage.getItem(RELOADED) === key) return false;
  sessionStorage.setItem(RELOADED, key);
  return true;
}
