import { beforeEach, expect, it, vi } from 'vitest';

const page = vi.hoisted(() => {
  const made = {
    location: new URL('http://mimi/devices?search=hall&tag=old'),
    history: {
      state: { _routerIndex: 3 } as unknown,
      replaceState(state: unknown, _: string, url?: URL) {
        made.history.state = state;
        if (url) made.location.href = url.href;
      },
    },
  };
  Object.assign(globalThis, made);
  return made;
});
// sv-router's own module of the query, without its router, which wants a compiler.
vi.mock('sv-router', () => vi.importActual('../../node_modules/sv-router/src/search-params.svelte.js'));
import { addressQuery, changeQuery } from './address';

beforeEach(() => void (page.history.state = { _routerIndex: 3 }));

it('changes the address and keeps the place in the history', () => {
  changeQuery({ search: '007', tag: '', room: '', agent: undefined });
  expect(page.location.search).toBe('?search=007');
  expect(addressQuery().get('search')).toBe('007');
  expect(page.history.state).toEqual({ _routerIndex: 3 });
});

it('leaves what is the same alone', () => {
  const replace = vi.spyOn(page.history, 'replaceState');
  changeQuery({ search: '007', tag: '' });
  expect(replace).not.toHaveBeenCalled();
});
