import { expect, it, vi } from 'vitest';
import { askBefore, mayLeave } from './leaving';

it('asks what is not saved, one question after the other, up to the first no', async () => {
  expect(await mayLeave()).toBe(true);
  const [first, second] = [vi.fn(async () => false), vi.fn(async () => true)];
  const stops = [askBefore(first), askBefore(second)];
  expect([await mayLeave(), second.mock.calls.length]).toEqual([false, 0]);
  stops[0]!();
  expect([await mayLeave(), first.mock.calls.length, second.mock.calls.length]).toEqual([true, 1, 1]);
  stops[1]!();
});
