/** A reminder as the form has it, and as the API takes it. */
import { DAYS, parseRule, type Day } from './repeat';
import type { Reminder } from './texts';

export type Kind = 'timer' | 'alarm' | 'reminder';
export type Repetition = 'none' | 'daily' | 'weekdays' | 'weekends' | 'weekly' | 'monthly' | 'monthly-nth' | 'yearly' | 'custom';

export interface Draft {
  kind: Kind;
  device: string;
  text: string;
  hours: number | null;
  minutes: number | null;
  seconds: number | null;
  date: string;
  time: string;
  zone: string;
  repetition: Repetition;
  every: number | null;
  days: Day[];
  rule: string;
}

const two = (value: number) => String(value).padStart(2, '0');

/** A local time an hour from now, on the full hour. */
function soon(): { date: string; time: string; day: Day } {
  const at = new Date(Date.now() + 3_600_000);
  return { date: `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`, time: `${two(at.getHours())}:00`, day: DAYS[(at.getDay() + 6) % 7]! };
}

export const dayOf = (date: string): Day => DAYS[(new Date(`${date}T12:00:00Z`).getUTCDay() + 6) % 7]!;

/** The number of a date's weekday in its month, such as 1MO. */
export function nthOf(date: string): string {
  return `${Math.floor((Number(date.slice(8, 10)) - 1) / 7) + 1}${dayOf(date)}`;
}

export function draftOf(reminder?: Reminder): Draft {
  const at = soon();
  const made: Draft = { kind: reminder?.kind ?? 'reminder', device: reminder?.device_id ?? '', text: reminder?.text ?? '', hours: 0, minutes: 10, seconds: 0, date: at.date, time: at.time, zone: reminder?.timezone ?? '', repetition: 'none', every: 1, days: [at.day], rule: '' };
  if (!reminder?.wall) return made;
  made.date = reminder.wall.slice(0, 10);
  made.time = reminder.wall.slice(11, 16);
  made.days = [dayOf(made.date)];
  return reminder.repeat ? { ...made, ...repetitionOf(reminder.repeat, made.date) } : made;
}

function repetitionOf(text: string, date: string): Partial<Draft> {
  const rule = parseRule(text);
  const custom = { repetition: 'custom' as const, rule: text };
  const plain = rule.count === null && !rule.until && !rule.hours.length && !rule.minutes.length && !rule.further && !text.includes('WKST');
  if (!plain || rule.months.length) return custom;
  const days = rule.days.map((each) => each.day).sort((one, other) => DAYS.indexOf(one) - DAYS.indexOf(other));
  if (rule.frequency === 'WEEKLY') {
    if (rule.interval === 1 && days.join() === 'MO,TU,WE,TH,FR') return { repetition: 'weekdays' };
    if (rule.interval === 1 && days.join() === 'SA,SU') return { repetition: 'weekends' };
    return { repetition: 'weekly', every: rule.interval, days: days.length ? days : [dayOf(date)] };
  }
  if (rule.interval !== 1) return custom;
  if (rule.frequency === 'DAILY' && !rule.days.length && !rule.monthDays.length) return { repetition: 'daily' };
  if (rule.frequency === 'MONTHLY' && !rule.days.length && (!rule.monthDays.length || rule.monthDays.join() === String(Number(date.slice(8, 10))))) return { repetition: 'monthly' };
  if (rule.frequency === 'MONTHLY' && rule.days.length === 1 && `${rule.days[0]!.nth}${rule.days[0]!.day}` === nthOf(date)) return { repetition: 'monthly-nth' };
  if (rule.frequency === 'YEARLY' && !rule.days.length && !rule.monthDays.length) return { repetition: 'yearly' };
  return custom;
}

/** The rule that the form says; empty: none. */
export function ruleOf(draft: Draft): string {
  switch (draft.repetition) {
    case 'none':
      return '';
    case 'weekly':
      return `FREQ=WEEKLY${(draft.every ?? 1) > 1 ? `;INTERVAL=${draft.every}` : ''};BYDAY=${(draft.days.length ? draft.days : [dayOf(draft.date)]).join(',')}`;
    case 'monthly':
      return `FREQ=MONTHLY;BYMONTHDAY=${Number(draft.date.slice(8, 10))}`;
    case 'monthly-nth':
      return `FREQ=MONTHLY;BYDAY=${nthOf(draft.date)}`;
    case 'custom':
      return draft.rule.trim();
    default:
      return draft.repetition;
  }
}

export const secondsOf = (draft: Draft) => (draft.hours ?? 0) * 3600 + (draft.minutes ?? 0) * 60 + (draft.seconds ?? 0);
export const wallOf = (draft: Draft) => `${draft.date}T${draft.time}`;
