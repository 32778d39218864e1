/** The filters of the list of devices, kept in the page's address. */
import { addressQuery, changeQuery } from '~/lib/address';

const STATES = ['', 'active', 'disabled', 'pending', 'seen'] as const;
export const SORTS = ['name', '-last_seen_at', '-created_at', 'id'] as const;
const TEXTS = ['search', 'room', 'tag', 'agent', 'board', 'firmware_version', 'owner_id', 'group_id'] as const;

export type Filters = Record<(typeof TEXTS)[number], string> & { online: '' | 'yes' | 'no'; state: (typeof STATES)[number]; sort: (typeof SORTS)[number] };

const among = <Value extends string>(values: readonly Value[], given: string | null, otherwise: Value): Value => values.find((value) => value === given) ?? otherwise;

/** The filters in the query of an address. */
export function filtersOf(given: URLSearchParams): Filters {
  const texts = Object.fromEntries(TEXTS.map((name) => [name, given.get(name) ?? ''])) as Record<(typeof TEXTS)[number], string>;
  return { ...texts, online: among(['', 'yes', 'no'] as const, given.get('online'), ''), state: among(STATES, given.get('state'), ''), sort: among(SORTS, given.get('sort'), 'name') };
}

/** True when something is left out. */
export function isFiltered(filters: Filters): boolean {
  return Object.entries(filters).some(([name, value]) => name !== 'sort' && value !== '');
}

/** The filters in the page's address; reactive. */
export function filters(): Filters {
  return filtersOf(addressQuery());
}

/** Changes filters in the page's address. */
export function changeFilters(changes: Partial<Filters>): void {
  changeQuery({ ...changes, ...(changes.sort === 'name' ? { sort: '' } : {}) });
}

/** Shows all again, in the same order. */
export function clearFilters(): void {
  changeFilters({ ...filtersOf(new URLSearchParams()), sort: filters().sort });
}
