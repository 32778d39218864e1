import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { IntlMessageFormat } from 'intl-messageformat';
import { expect, it } from 'vitest';
import { inWords, parseRule, type Say, type Units } from './repeat';

function words(code: string, rule: string, wall = '2026-11-27T07:30'): string {
  const catalog = JSON.parse(readFileSync(fileURLToPath(new URL(`messages/${code}.json`, import.meta.url)), 'utf8')) as Record<string, string>;
  const say: Say = (key, values) => String(new IntlMessageFormat(catalog[key]!, code, undefined, { ignoreTag: true }).format(values));
  const date = (options: Intl.DateTimeFormatOptions, at: Date) => new Intl.DateTimeFormat(code, { timeZone: 'UTC', ...options }).format(at);
  const units: Units = {
    list: (all) => new Intl.ListFormat(code).format(all),
    number: String,
    date: (at) => new Intl.DateTimeFormat(code, { dateStyle: 'medium' }).format(at),
    time: (hours, minutes) => `${hours}:${String(minutes).padStart(2, '0')}`,
    month: (number) => date({ month: 'long' }, new Date(Date.UTC(2026, number - 1))),
    monthDay: (month, day) => date({ month: 'long', day: 'numeric' }, new Date(Date.UTC(2024, month - 1, day))),
  };
  return inWords(rule, wall, say, units);
}

it.each([
  ['FREQ=DAILY', 'every day', 'каждый день'],
  ['FREQ=DAILY;INTERVAL=3', 'every 3 days', 'каждые 3 дня'],
  ['FREQ=DAILY;INTERVAL=5', 'every 5 days', 'каждые 5 дней'],
  ['FREQ=DAILY;INTERVAL=21', 'every 21 days', 'каждый 21 день'],
  ['FREQ=WEEKLY;INTERVAL=2', 'every 2 weeks', 'каждые 2 недели'],
  ['FREQ=HOURLY;INTERVAL=6', 'every 6 hours', 'каждые 6 часов'],
  ['FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR', 'on weekdays', 'по будням'],
  ['FREQ=WEEKLY;BYDAY=SU,SA', 'at weekends', 'по выходным'],
  ['FREQ=WEEKLY;BYDAY=TH,MO', 'every week on Monday and Thursday', 'каждую неделю по понедельникам и четвергам'],
  ['FREQ=WEEKLY;INTERVAL=2;BYDAY=WE', 'every 2 weeks on Wednesday', 'каждые 2 недели по средам'],
  ['FREQ=MONTHLY;BYMONTHDAY=1,15', 'every month on day 1 and 15', 'каждый месяц, 1 и 15-го числа'],
  ['FREQ=MONTHLY;BYMONTHDAY=-1', 'every month on the last day', 'каждый месяц, в последний день'],
  ['FREQ=MONTHLY;BYDAY=1WE', 'every month on the first Wednesday', 'каждый месяц: первая среда'],
  ['FREQ=MONTHLY;BYDAY=-1FR', 'every month on the last Friday', 'каждый месяц: последняя пятница'],
  ['FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=8', 'every year on March 8', 'каждый год, 8 марта'],
  ['FREQ=DAILY;COUNT=2', 'every day, 2 more times', 'каждый день, ещё 2 раза'],
  ['FREQ=DAILY;COUNT=5', 'every day, 5 more times', 'каждый день, ещё 5 раз'],
  ['FREQ=DAILY;UNTIL=20261231T235959', 'every day until Dec 31, 2026', 'каждый день до 31 дек. 2026 г.'],
  ['FREQ=DAILY;BYHOUR=8,20', 'every day at 8:30 and 20:30', 'каждый день в 8:30 и 20:30'],
  ['FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1', 'by a rule of its own', 'по своему правилу'],
])('says %s', (rule, english, russian) => {
  expect(words('en', rule)).toBe(english);
  expect(words('ru', rule)).toBe(russian);
});

it('says it in the other languages', () => {
  const rule = 'FREQ=WEEKLY;BYDAY=MO,TH';
  expect(words('vi', rule)).toBe('mỗi tuần vào thứ Hai và thứ Năm');
  expect(words('zh', rule)).toBe('每周：周一和周四');
  expect(words('ja', rule)).toBe('毎週 月曜日、木曜日');
  expect(words('ja', 'FREQ=MONTHLY;BYDAY=2TU')).toBe('毎月 第2火曜日');
});

it('reads the parts of a rule', () => {
  expect(parseRule('FREQ=WEEKLY;INTERVAL=2;COUNT=3;BYDAY=MO,-1FR;BYHOUR=9')).toMatchObject({
    frequency: 'WEEKLY', interval: 2, count: 3, days: [{ nth: 0, day: 'MO' }, { nth: -1, day: 'FR' }], hours: [9], further: false,
  });
});
