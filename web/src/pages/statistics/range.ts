/** Ranges of days, as the address of the page has them. */

export type Preset = '1' | '7' | '30' | '90';
export type By = 'day' | 'device' | 'agent' | 'provider';
export const PRESETS: readonly Preset[] = ['1', '7', '30', '90'];
export const GROUPS: readonly By[] = ['day', 'device', 'agent', 'provider'];

/** `2026-11-27`, of a moment in the zone of this browser. */
export function dayOf(at: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** The first of `days` days of which `last` is the last. */
export function firstOf(last: string, days: number): string {
  const at = new Date(`${last}T12:00:00`);
  at.setDate(at.getDate() - (days - 1));
  return dayOf(at);
}

/** Every day from `from` to `to`, both included. */
export function daysBetween(from: string, to: string): string[] {
  const found: string[] = [];
  for (let day = from; day <= to && found.length < 4000; day = firstOf(day, 0)) found.push(day);
  return found;
}
