/** The filters of the list of devices, kept in the page's address. */
const STATES = ['', 'active', 'disabled', 'pending', 'seen'] as const;
export const SORTS = ['name', '-last_seen_at', '-created_at', 'id'] as const;
const TEXTS = ['search', 'room', 'tag', 'agent', 'board', 'firmware_version', 'owner_id', 'group_id'] as const;

export type Filters = Record<(typeof TEXTS)[number], string> & { online: '' | 'yes' | 'no'; state: (typeof STATES)[number]; sort: (typeof SORTS)[number] };

const among = <Value extends string>(values: readonly Value[], given: string | null, otherwise: Value): Value => values.find((value) => value === given) ?? otherwise;

/** The filters in an address. */
export function filtersOf(search: string): Filters {
  const given = new URLSearchParams(search);
  const texts = Object.fromEntries(TEXTS.map((name) => [name, given.get(name) ?? ''])) as Record<(typeof TEXTS)[number], string>;
  return { ...texts, online: among(['', 'yes', 'no'] as const, given.get('online'), ''), state: among(STATES, given.get('state'), ''), sort: among(SORTS, given.get('sort'), 'name') };
}

/** True when something is left out. */
export function isFiltered(filters: Filters): boolean {
  return Object.entries(filters).some(([name, value]) => name !== 'sort' && value !== '');
}

/** Puts the filters into the address, without another entry of the history. */
export function keepFilters(filters: Filters): void {
  const kept = Object.entries(filters).filter(([name, value]) => value !== '' && !(name === 'sort' && value === 'name'));
  const query = new URLSearchParams(kept).toString();
  const wanted = location.pathname + (query ? `?${query}` : '');
  if (wanted !== location.pathname + location.search) history.replaceState(history.state, '', wanted);
}
