/** Reminders in words, in the language of the page. */
import type { Api } from '~/api';
import { format, locale, messages } from '~/i18n';
import { inWords, type Units } from './repeat';

export type Reminder = Api<'ReminderView'>;
export const t = messages<typeof import('./messages/en.json')>('reminders');

const intl = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(locale(), options);
// Times without a zone, shown as they are.
const utc = (...parts: [number, number, number?, number?, number?]) => new Date(Date.UTC(...parts));

const units: Units = {
  list: format.list,
  number: (value) => format.number(value),
  date: (at) => format.date(at),
  time: (hours, minutes) => intl({ timeStyle: 'short', timeZone: 'UTC' }).format(utc(2026, 0, 1, hours, minutes)),
  month: (number) => intl({ month: 'long', timeZone: 'UTC' }).format(utc(2026, number - 1)),
  monthDay: (month, day) => intl({ month: 'long', day: 'numeric', timeZone: 'UTC' }).format(utc(2024, month - 1, day)),
};

export const repeatText = (reminder: { repeat: string; wall: string | null }) => (reminder.repeat ? inWords(reminder.repeat, reminder.wall, t, units) : t('once'));

/** The time of day of a local time such as 2026-11-28T09:00. */
export const clockText = (wall: string) => intl({ timeStyle: 'short', timeZone: 'UTC' }).format(new Date(`${wall.slice(0, 16)}Z`));

/** A moment as it is on the clocks of a zone, with the zone where it is not the browser's. */
export function zoned(at: string, zone: string): string {
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  try {
    const timeZone = zone || here;
    const moment = new Date(at);
    const day = intl({ weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', timeZone }).format(moment);
    const clock = intl({ timeStyle: 'short', timeZone }).format(moment);
    return timeZone === here ? `${day} · ${clock}` : `${day} · ${clock} (${timeZone})`;
  } catch {
    return format.dateTime(at); // a zone that this browser does not know
  }
}

/** A timer, alarm or reminder by its name. */
export function nameOf(reminder: Reminder): string {
  if (reminder.text) return reminder.text;
  if (reminder.kind === 'timer') return t('timer-of', { time: format.duration((reminder.duration_s ?? 0) * 1000) });
  return reminder.wall ? t('alarm-at', { time: clockText(reminder.wall) }) : t(reminder.kind);
}
