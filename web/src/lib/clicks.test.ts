import { expect, it, vi } from 'vitest';
import { isForBrowser, leaveClicksToBrowser } from './clicks';

const link = (rel: string | null) => ({ closest: () => ({ getAttribute: () => rel }) }) as unknown as Element;
const plain = { button: 0, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, defaultPrevented: false, target: link(null) };

it('leaves a click with a modifier key or another button to the browser, and what was handled alone', () => {
  expect(isForBrowser(plain)).toBe(false);
  for (const also of [{ ctrlKey: true }, { metaKey: true }, { shiftKey: true }, { altKey: true }, { button: 1 }, { defaultPrevented: true }]) {
    expect(isForBrowser({ ...plain, ...also })).toBe(true);
  }
});

it('leaves a link to what is no page of the app to the browser', () => {
  expect(['external', 'external noreferrer', 'noreferrer', ''].map((rel) => isForBrowser({ ...plain, target: link(rel) }))).toEqual([true, true, false, false]);
  expect([{ closest: () => null } as unknown as Element, new EventTarget(), null].map((target) => isForBrowser({ ...plain, target }))).toEqual([false, false, false]);
});

it('keeps the router, which listens later, from such clicks alone', () => {
  const page = new EventTarget();
  const router = vi.fn();
  leaveClicksToBrowser(page);
  page.addEventListener('click', router);
  page.dispatchEvent(Object.assign(new Event('click'), { button: 0 }));
  expect(router).toHaveBeenCalledTimes(1);
  page.dispatchEvent(Object.assign(new Event('click'), { button: 0, ctrlKey: true }));
  expect(router).toHaveBeenCalledTimes(1);
});
