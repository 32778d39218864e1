/** The filter of the list, which stands in the address: a page that is left and come back to shows the same. */
import { addressQuery, changeQuery } from '~/lib/address';

export const names = ['q', 'device', 'agent', 'outcome', 'owner', 'from', 'to'] as const;
export type Filter = Record<(typeof names)[number], string>;

/** The filter in the address; reactive. Days are of this browser's time zone. */
export function filter(): Filter {
  const given = addressQuery();
  return Object.fromEntries(names.map((name) => [name, given.get(name) ?? ''])) as Filter;
}

export function change(name: keyof Filter, value: string): void {
  changeQuery({ [name]: value });
}

export function clear(): void {
  changeQuery(Object.fromEntries(names.map((name) => [name, ''])));
}

function day(date: string, after = 0): string | undefined {
  const [year, month, of] = date.split('-').map(Number);
  if (!year || !month || !of) return undefined;
  const at = new Date(year, month - 1, of + after);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}

/** What the API is asked for; without the words. */
export function asked(given: Filter) {
  return {
    device: /^[0-9a-f]{2}(-[0-9a-f]{2}){5}$/.test(given.device) ? given.device : undefined,
    agent: given.agent || undefined,
    outcome: given.outcome || undefined,
    owner: given.owner || undefined,
    from: day(given.from),
    to: day(given.to, 1),
  };
}

/** The path of the export of what the filter finds, below /api/v1. */
export function exportPath(given: Filter, format: 'json' | 'text'): string {
  const query = new URLSearchParams({ format });
  for (const [name, value] of Object.entries({ q: given.q || undefined, ...asked(given) })) if (value) query.set(name, value);
  return `/conversations/export?${query}`;
}
