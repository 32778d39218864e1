import { beforeAll, expect, it, vi } from 'vitest';

vi.mock('./language.svelte', () => ({ locale: () => current }));
let current = 'en';
let format: typeof import('./format');

beforeAll(async () => {
  format = await import('./format');
});

it('writes durations in the two units that matter', () => {
  current = 'en';
  expect(format.duration(340)).toBe('340 ms');
  expect(format.duration(1240)).toBe('1.2 s');
  expect(format.duration(184_000)).toBe('3 min 4 s');
  expect(format.duration(3 * 86_400_000 + 4 * 3_600_000)).toBe('3 days 4 h');
  expect(format.duration(120_000)).toBe('2 min');
  current = 'vi';
  expect(format.duration(720)).toBe('720 ms');
});

it('writes numbers and sizes as the language does', () => {
  current = 'ru';
  expect(format.number(1234567.5).replace(/\s/g, ' ')).toBe('1 234 567,5');
  current = 'en';
  expect(format.bytes(3_967_912)).toBe('4 MB');
  expect(format.bytes(1_530_000)).toBe('1.5 MB');
  expect(format.percent(0.0123)).toBe('1.2%');
});

it('tells moments by their distance', () => {
  const now = Date.UTC(2026, 0, 1, 12);
  current = 'en';
  expect(format.ago(now - 61_000, now)).toBe('1 minute ago');
  expect(format.ago(now + 2 * 86_400_000 + 1000, now)).toBe('in 2 days');
  current = 'vi';
  expect(format.ago(now - 7_200_000, now)).toBe('2 giờ trước');
});
