import { beforeEach, expect, it, vi } from 'vitest';

const address = vi.hoisted(() => ({ query: new URLSearchParams() }));
vi.mock('~/lib/address', () => ({
  addressQuery: () => address.query,
  changeQuery: (values: Record<string, string>) => {
    for (const [name, value] of Object.entries(values)) {
      if (value) address.query.set(name, value);
      else address.query.delete(name);
    }
  },
}));
import { changeFilters, clearFilters, filters, isFiltered } from './filters';

beforeEach(() => void (address.query = new URLSearchParams('search=hall&state=nonsense&sort=-created_at')));

it('follows the address, and takes nothing from it that it does not know', () => {
  expect(filters()).toMatchObject({ search: 'hall', state: '', sort: '-created_at', room: '' });
  address.query = new URLSearchParams();
  expect([filters().search, isFiltered(filters())]).toEqual(['', false]);
});

it('puts into the address what is not as usual', () => {
  changeFilters({ room: 'Kitchen', sort: 'name', search: '' });
  expect(address.query.toString()).toBe('state=nonsense&room=Kitchen');
});

it('shows all again in the same order', () => {
  clearFilters();
  expect(address.query.toString()).toBe('sort=-created_at');
});
