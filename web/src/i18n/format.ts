/** Numbers, sizes, times and durations as the page's language writes them. */
import { locale } from './language.svelte';

type Kept = Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat | Intl.ListFormat | Intl.DisplayNames;
const made = new Map<string, Kept>();

/** One formatter for each language and set of options: making one takes longer than using it. */
function once<F extends Kept, O>(kind: new (locale: string, options: O) => F, options: O): F {
  const id = `${kind.name}${locale()}${JSON.stringify(options)}`;
  let found = made.get(id);
  if (found === undefined) made.set(id, (found = new kind(locale(), options)));
  return found as F;
}

/** A number. */
export function number(value: number, options: Intl.NumberFormatOptions = {}): string {
  return once(Intl.NumberFormat, options).format(value);
}

/** A share of 1 as a percentage. */
export function percent(share: number, digits = 1): string {
  return number(share, { style: 'percent', maximumFractionDigits: digits });
}

/** A size in bytes, in the unit that fits, of 1,000s. */
export function bytes(size: number): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
  let at = 0;
  while (size >= 1000 && at < units.length - 1) {
    size /= 1000;
    at += 1;
  }
  return number(size, { style: 'unit', unit: units[at], unitDisplay: at ? 'short' : 'long', maximumFractionDigits: at && size < 100 ? 1 : 0 });
}

/** Signs of units where the language's own short form is as long as a word, or not the usual one: `1.2 secs`, `720 mili giây`. */
const signs: Record<string, Record<string, string>> = {
  en: { millisecond: 'ms', second: 's', minute: 'min', hour: 'h' },
  vi: { millisecond: 'ms' },
  zh: { millisecond: 'ms' },
};

/** A number with its unit, such as `millisecond`, `percent` or `second`. */
export function unit(value: number, name: string, digits = 0): string {
  const sign = signs[locale().split('-')[0]!]?.[name];
  if (sign) return `${number(value, { maximumFractionDigits: digits })} ${sign}`;
  return number(value, { style: 'unit', unit: name, unitDisplay: 'short', maximumFractionDigits: digits });
}

/** A duration given in milliseconds: `340 ms`, `1.2 s`, `3 min 4 s`, `5 h 12 min`, `3 days 4 h`. */
export function duration(ms: number): string {
  if (Math.abs(ms) < 1000) return unit(Math.round(ms), 'millisecond');
  const seconds = ms / 1000;
  if (Math.abs(seconds) < 60) return unit(seconds, 'second', Math.abs(seconds) < 10 ? 1 : 0);
  const whole = Math.round(seconds);
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), 'day'],
    [Math.floor((whole % 86_400) / 3600), 'hour'],
    [Math.floor((whole % 3600) / 60), 'minute'],
    [whole % 60, 'second'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  return parts
    .slice(first, first + 2)
    .filter(([value], at) => at === 0 || value > 0)
    .map(([value, name]) => unit(value, name))
    .join(' ');
}

/** The length of a recording given in milliseconds: `0:07`, `1:02:03`. */
export function clock(ms: number): string {
  const whole = Math.max(0, Math.floor(ms / 1000));
  const two = (value: number) => String(value).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A moment with its day. */
export function dateTime(at: string | Date): string {
  return once(Intl.DateTimeFormat, { dateStyle: 'medium', timeStyle: 'short' } as const).format(new Date(at));
}

/** A day. */
export function date(at: string | Date): string {
  return once(Intl.DateTimeFormat, { dateStyle: 'medium' } as const).format(new Date(at));
}

/** A day without its year, for the scale of a chart. */
export function day(at: Date): string {
  return once(Intl.DateTimeFormat, { day: 'numeric', month: 'short' } as const).format(at);
}

/** A time of day; with seconds where asked. */
export function time(at: string | Date, seconds = false): string {
  return once(Intl.DateTimeFormat, { timeStyle: seconds ? 'medium' : 'short' } as const).format(new Date(at));
}

/** The time between a moment and `now`, both in ms since 1970: `3 minutes ago`, `in 2 days`. */
export function ago(at: number, now: number): string {
  const seconds = (at - now) / 1000;
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [
    [60, 'second'],
    [3600, 'minute'],
    [86_400, 'hour'],
    [604_800, 'day'],
    [2_629_800, 'week'],
    [31_557_600, 'month'],
  ];
  let per = 1;
  for (const [limit, name] of steps) {
    if (Math.abs(seconds) < limit) return relative(seconds / per, name);
    per = limit;
  }
  return relative(seconds / 31_557_600, 'year');
}

function relative(value: number, name: Intl.RelativeTimeFormatUnit): string {
  return once(Intl.RelativeTimeFormat, { numeric: 'auto' } as const).format(Math.trunc(value), name);
}

/** Words in a row: `a, b and c`. */
export function list(words: readonly string[]): string {
  return once(Intl.ListFormat, { type: 'conjunction' } as const).format(words);
}

/** The name of a language given by its tag; the tag itself when it has none. */
export function languageName(tag: string): string {
  try {
    return once(Intl.DisplayNames, { type: 'language' } as const).of(tag) ?? tag;
  } catch {
    return tag;
  }
}
