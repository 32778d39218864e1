/**
 * Repetitions (RFC 5545 rules) in words. Own, as no library writes them so that a Russian or Japanese reader would: the
 * days need other forms in each language, which the messages have.
 */

type Values = Record<string, string | number>;
/** A message of this area by its key. */
export type Say = (key: RepeatKey, values?: Values) => string;
export type RepeatKey =
  | 'on-day' | 'nth-day' | 'w-hourly' | 'w-daily' | 'w-weekly' | 'w-monthly' | 'w-yearly' | 'w-weekdays' | 'w-weekends' | 'w-on' | 'w-month-day'
  | 'w-last-day' | 'w-nth' | 'w-date' | 'w-months' | 'w-hours' | 'w-count' | 'w-until' | 'w-custom';

export const DAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'] as const;
export type Day = (typeof DAYS)[number];

export interface Rule {
  frequency: string;
  interval: number;
  count: number | null;
  /** As it is written: 20261231 or 20261231T090000, with Z for UTC. */
  until: string;
  /** Days of the week with their number in the month or year; 0: each. */
  days: { nth: number; day: Day }[];
  monthDays: number[];
  months: number[];
  hours: number[];
  minutes: number[];
  /** It has parts that words here don't cover. */
  further: boolean;
}

/** A rule as the server keeps it; it was checked there. */
export function parseRule(text: string): Rule {
  const parts = new Map(text.replace(/^RRULE:/i, '').split(';').map((part) => part.split('=') as [string, string]));
  const numbers = (name: string) => (parts.get(name) ? parts.get(name)!.split(',').map(Number) : []);
  const days = (parts.get('BYDAY')?.split(',') ?? []).map((each) => {
    const match = /^([+-]?\d*)([A-Z]{2})$/.exec(each);
    return { nth: Number(match?.[1] || 0), day: (match?.[2] ?? 'MO') as Day };
  });
  return {
    frequency: parts.get('FREQ') ?? '',
    interval: Number(parts.get('INTERVAL') ?? 1),
    count: parts.has('COUNT') ? Number(parts.get('COUNT')) : null,
    until: parts.get('UNTIL') ?? '',
    days,
    monthDays: numbers('BYMONTHDAY'),
    months: numbers('BYMONTH'),
    hours: numbers('BYHOUR'),
    minutes: numbers('BYMINUTE'),
    further: ['BYYEARDAY', 'BYWEEKNO', 'BYSETPOS'].some((name) => parts.has(name)),
  };
}

/** The words of other units than those of this area's messages. */
export interface Units {
  list: (words: readonly string[]) => string;
  number: (value: number) => string;
  date: (at: Date) => string;
  time: (hours: number, minutes: number) => string;
  month: (number: number) => string;
  monthDay: (month: number, day: number) => string;
}

const WEEKDAYS = 'MO,TU,WE,TH,FR';
const WEEKENDS = 'SA,SU';

/** A repetition in words; `wall` is the local time of its next occurrence, such as 2026-11-28T09:00. */
export function inWords(text: string, wall: string | null, say: Say, units: Units): string {
  const rule = parseRule(text);
  const main = mainWords(rule, say, units);
  if (main === null) return say('w-custom');
  let words = main;
  const minutes = rule.minutes.length ? rule.minutes : [Number(wall?.slice(14, 16) ?? 0)];
  if (rule.hours.length) words = say('w-hours', { what: words, hours: units.list(rule.hours.flatMap((hour) => minutes.map((minute) => units.time(hour, minute)))) });
  if (rule.count !== null) words = say('w-count', { what: words, count: rule.count });
  const until = /^(\d{4})(\d{2})(\d{2})/.exec(rule.until);
  if (until) words = say('w-until', { what: words, date: units.date(new Date(Number(until[1]), Number(until[2]) - 1, Number(until[3]))) });
  return words;
}

function mainWords(rule: Rule, say: Say, units: Units): string | null {
  if (rule.further) return null;
  const n = rule.interval;
  const days = rule.days.map((each) => each.day).sort((one, other) => DAYS.indexOf(one) - DAYS.indexOf(other));
  const numbered = rule.days.some((each) => each.nth !== 0);
  const on = () => units.list(days.map((day) => say('on-day', { day })));
  const months = (words: string) => (rule.months.length ? say('w-months', { every: words, months: units.list(rule.months.map(units.month)) }) : words);
  switch (rule.frequency) {
    case 'HOURLY':
      return rule.days.length || rule.monthDays.length ? null : months(say('w-hourly', { n }));
    case 'DAILY':
      if (rule.monthDays.length) return null;
      return months(days.length ? say('w-on', { every: say('w-daily', { n }), days: on() }) : say('w-daily', { n }));
    case 'WEEKLY':
      if (n === 1 && days.join() === WEEKDAYS) return months(say('w-weekdays'));
      if (n === 1 && days.join() === WEEKENDS) return months(say('w-weekends'));
      return months(days.length ? say('w-on', { every: say('w-weekly', { n }), days: on() }) : say('w-weekly', { n }));
    case 'MONTHLY': {
      const every = months(say('w-monthly', { n }));
      if (rule.monthDays.length && rule.days.length) return null;
      if (rule.monthDays.join() === '-1') return say('w-last-day', { every });
      if (rule.monthDays.some((day) => day < 0)) return null;
      if (rule.monthDays.length) return say('w-month-day', { every, days: units.list(rule.monthDays.map(units.number)) });
      if (numbered) return nthWords(rule, every, say, units);
      return days.length ? say('w-on', { every, days: on() }) : every;
    }
    case 'YEARLY': {
      const every = say('w-yearly', { n });
      if (rule.days.length) return rule.monthDays.length || !rule.months.length || !numbered ? null : nthWords(rule, months(every), say, units);
      if (rule.months.length === 1 && rule.monthDays.length === 1 && rule.monthDays[0]! > 0) return say('w-date', { every, date: units.monthDay(rule.months[0]!, rule.monthDays[0]!) });
      return rule.monthDays.length ? null : months(every);
    }
    default:
      return null;
  }
}

function nthWords(rule: Rule, every: string, say: Say, units: Units): string | null {
  const known = rule.days.every(({ nth }) => (nth >= 1 && nth <= 5) || nth === -1 || nth === -2);
  if (!known) return null;
  return say('w-nth', { every, which: units.list(rule.days.map(({ nth, day }) => say('nth-day', { nth: nth === -1 ? 'last' : nth === -2 ? 'l2' : String(nth), day }))) });
}
