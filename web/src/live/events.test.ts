import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { queries } from '../api/queries';
import { live, refreshOn, startLive, stopLive } from './events.svelte';
import type { Reading } from './stream';

let tell: Reading['told'];
let open: () => void;
let again: () => Promise<void>;
vi.mock('./stream', () => ({
  keepReading: (read: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) => (again = () => read(signal))(),
  readEvents: async (_: string, reading: Reading) => void ([tell, open] = [reading.told, () => void reading.opened?.(reading.signal)]),
}));

const event = (name: string) => tell({ id: undefined, event: name, data: JSON.stringify({ event: name, at: '' }) });
const asked = vi.spyOn(queries, 'invalidateQueries').mockResolvedValue();
const afterBreak = vi.fn();

beforeEach(() => {
  vi.useFakeTimers();
  asked.mockClear();
  afterBreak.mockClear();
  startLive(afterBreak);
});
afterEach(() => {
  stopLive();
  queries.clear();
  vi.useRealTimers();
});

it('asks again soon, and then not before a gap', async () => {
  const stop = refreshOn(['turn_ended'], ['conversations']);
  event('turn_ended');
  event('turn_ended');
  event('device_gone');
  await vi.advanceTimersByTimeAsync(250);
  expect(asked.mock.calls).toEqual([[{ queryKey: ['conversations'] }]]);
  event('turn_ended');
  await vi.advanceTimersByTimeAsync(1999);
  expect(asked).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(asked).toHaveBeenCalledTimes(2);
  stop();
});

it('lets a further page come first', async () => {
  const stop = refreshOn(['turn_ended'], ['conversations']);
  let come = () => {};
  const page = queries.fetchQuery({ queryKey: ['conversations', 'list'], queryFn: () => new Promise<string>((resolve) => (come = () => resolve('page'))) });
  const state = queries.getQueryCache().find({ queryKey: ['conversations', 'list'] })!;
  state.setState({ fetchMeta: { fetchMore: { direction: 'forward' } } });
  event('turn_ended');
  await vi.advanceTimersByTimeAsync(5000);
  expect(asked).not.toHaveBeenCalled();
  come();
  await page;
  await vi.advanceTimersByTimeAsync(250);
  expect(asked).toHaveBeenCalledTimes(1);
  stop();
});

it('is live while a stream is open alone', async () => {
  expect(live().status).toBe('connecting');
  open();
  expect(live().status).toBe('live');
  await vi.advanceTimersByTimeAsync(60_000);
  // The page was hidden, and is seen again.
  void again();
  expect(live()).toEqual({ status: 'lost', since: Date.now() });
  expect(afterBreak).not.toHaveBeenCalled();
  open();
  expect(live().status).toBe('live');
  expect(afterBreak).toHaveBeenCalledOnce();
});
