import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Reading } from '~/live/stream';
import { Trace } from './trace.svelte';

/** Each attempt to read, and its end. */
const attempts = vi.hoisted(() => [] as { reading: Reading; end: () => void; fail: () => void }[]);
vi.mock('~/api', () => ({ ApiProblem: class extends Error {} }));
vi.mock('~/live/stream', () => ({
  readEvents: (_: string, reading: Reading) => new Promise<void>((resolve, reject) => attempts.push({ reading, end: resolve, fail: () => reject(new Error('away')) })),
  beforeRetry: async () => undefined,
}));

const settled = () => new Promise((resolve) => setTimeout(resolve, 0));
let trace: Trace;

beforeEach(() => {
  attempts.length = 0;
  trace = new Trace('d');
  trace.open();
});
afterEach(() => trace.close());

it('is tried again until it is there, after the server ended it', async () => {
  void attempts[0]!.reading.opened?.(attempts[0]!.reading.signal);
  attempts[0]!.reading.told({ id: undefined, event: 'ended', data: '{"reason": "slow"}' });
  attempts[0]!.end();
  await settled();
  expect([trace.status, trace.reason, attempts.length]).toEqual(['ended', 'slow', 1]);
  trace.open();
  expect(trace.status).toBe('connecting');
  attempts[1]!.fail();
  await settled();
  expect([trace.status, attempts.length]).toEqual(['lost', 3]);
  void attempts[2]!.reading.opened?.(attempts[2]!.reading.signal);
  expect(trace.status).toBe('live');
});
