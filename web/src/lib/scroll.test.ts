import { expect, it, vi } from 'vitest';
import { scrollHooks, type Scrolled } from './scroll';

vi.mock('svelte', () => ({ tick: () => Promise.resolve() }));

/** A window with a history, and a router that does what sv-router does around the hooks. */
function browser() {
  const page = { scrollY: 0, scrollTo: (to: { top: number }) => void (page.scrollY = to.top), addEventListener: vi.fn(), history: { state: { _routerIndex: 0 }, scrollRestoration: 'auto' } };
  const hooks = scrollHooks(page as unknown as Scrolled);
  const load = async (made: () => void) => {
    hooks.beforeLoad();
    made();
    page.scrollTo({ top: 0 });
    await hooks.afterLoad();
  };
  const at = (index: number) => void (page.history.state = { _routerIndex: index });
  return { page, load: () => load(() => {}), link: () => load(() => at(page.history.state._routerIndex + 1)), go: (index: number) => (at(index), load(() => {})) };
}

it('goes back and forward to the places that were left, and to the top by a link', async () => {
  const { page, load, link, go } = browser();
  await load();
  page.scrollY = 5000;
  await link();
  expect(page.scrollY).toBe(0);
  page.scrollY = 300;
  await go(0);
  expect(page.scrollY).toBe(5000);
  await go(1);
  expect(page.scrollY).toBe(300);
  await go(0);
  await link();
  expect(page.scrollY).toBe(0);
});

it('leaves the first page alone, and begins at the top where it knows no place', async () => {
  const { page, load, go } = browser();
  page.history.state._routerIndex = 7;
  await load();
  page.scrollY = 900;
  await go(6);
  expect(page.scrollY).toBe(0);
  expect(page.history.scrollRestoration).toBe('manual');
});

it('forgets the places of entries long left', async () => {
  const { page, load, link, go } = browser();
  await load();
  page.scrollY = 400;
  for (let count = 0; count < 110; count++) await link();
  await go(0);
  expect(page.scrollY).toBe(0);
});
