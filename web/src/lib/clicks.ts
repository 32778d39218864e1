/**
 * Clicks on links that the browser follows, and the router must leave alone: sv-router follows every click on a link of this
 * origin, also one that asks for a new tab, and one to a page that the server makes.
 */
type Click = Pick<MouseEvent, 'button' | 'ctrlKey' | 'metaKey' | 'shiftKey' | 'altKey' | 'defaultPrevented' | 'target'>;

/** True for a click with a modifier key, with another button than the first, on a link that is external, or already handled. */
export function isForBrowser(click: Click): boolean {
  if (click.defaultPrevented || click.button !== 0 || click.ctrlKey || click.metaKey || click.shiftKey || click.altKey) return true;
  const link = (click.target as Element | null)?.closest?.('a');
  return link?.getAttribute('rel')?.split(/\s+/).includes('external') ?? false;
}

/**
 * Keeps the router from those clicks. Called before the router listens at `page`, the window: whatever listens at elements or at
 * the document still hears them.
 */
export function leaveClicksToBrowser(page: EventTarget): void {
  page.addEventListener('click', (event) => {
    if (isForBrowser(event as MouseEvent)) event.stopImmediatePropagation();
  });
}
