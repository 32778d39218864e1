import { beforeEach, expect, it, vi } from 'vitest';
import type { Reading } from '~/live/stream';
import { Log, MOST, type Line } from './log.svelte';

const server = vi.hoisted(() => ({ last: 0, boot: 'a', read: [] as Reading[] }));
vi.mock('~/live/stream', () => ({
  readEvents: async (_: string, reading: Reading) => {
    server.read.push(reading);
    await reading.opened?.(reading.signal);
  },
  keepReading: (read: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) => read(signal),
}));
vi.mock('~/api', () => ({
  unwrap: (answer: Promise<unknown>) => answer,
  api: {
    GET: async (_: string, { params: { query } }: { params: { query: { cursor?: string; limit: number } } }) => {
      const from = query.cursor ? Number(query.cursor) - 1 : server.last;
      const items = Array.from({ length: Math.min(query.limit, from) }, (_each, at) => line(from - at));
      return { items, next: from > query.limit ? String(items.at(-1)!.number) : null, parts: [], level: 'info' };
    },
  },
}));

const FILTER = { level: 'info', part: '', device: '', session: '', q: '' } as const;
const line = (number: number) => ({ number, at: `${server.boot}${number}`, part: 'app' }) as Line;
const numbers = (log: Log) => log.shown.lines.map((each) => each.number);
const range = (first: number, last: number) => Array.from({ length: first - last + 1 }, (_, at) => first - at);
/** The server writes up to a line. */
function write(last: number) {
  for (; server.last < last; ) {
    server.last += 1;
    server.read.at(-1)!.told({ id: undefined, event: undefined, data: JSON.stringify(line(server.last)) });
  }
}

let log: Log;
beforeEach(async () => {
  Object.assign(server, { last: 250, boot: 'a', read: [] });
  log = new Log();
  log.follow(FILTER);
  await vi.waitFor(() => expect(log.shown.status).toBe('live'));
});

/** The stream is opened again, from the same filter. */
async function openAgain() {
  const { opened, signal } = server.read[0]!;
  await opened!(signal);
}

it('goes on where it was when the stream is opened again', async () => {
  await log.more();
  server.last = 260;
  await openAgain();
  expect([numbers(log).slice(0, 11), log.shown.lines.length]).toEqual([[260, 259, 258, 257, 256, 255, 254, 253, 252, 251, 250], 210]);
});

it('lets new lines wait while it is paused, each once', async () => {
  log.paused = true;
  server.last = 255;
  await openAgain();
  server.read[0]!.told({ id: undefined, event: undefined, data: JSON.stringify(line(255)) });
  expect([log.shown.waiting.map((each) => each.number), numbers(log)[0]]).toEqual([[251, 252, 253, 254, 255], 250]);
});

it('begins anew after a gap, and after a restart of the server', async () => {
  server.last = 500;
  await openAgain();
  expect([numbers(log)[0], log.shown.lines.length]).toEqual([500, 100]);
  Object.assign(server, { last: 500, boot: 'b' });
  await openAgain();
  expect(log.shown.lines[0]).toEqual(line(500));
});

it('has no gap between what it keeps and older lines', async () => {
  await log.more();
  write(250 + MOST - 150);
  await log.more();
  expect(numbers(log)).toEqual(range(100 + MOST, numbers(log).at(-1)!));
  expect(numbers(log).at(-1)).toBeLessThan(150);
});

it('finds older lines after any number of new ones', async () => {
  write(250 + 2 * MOST);
  expect(log.shown.older).not.toBeNull();
  await log.more();
  expect(numbers(log)).toEqual(range(250 + 2 * MOST, numbers(log).at(-1)!));
  expect(log.shown.lines.length).toBeGreaterThan(MOST);
  await log.more();
  expect(numbers(log)).toEqual(range(250 + 2 * MOST, numbers(log).at(-1)!));
  expect(log.shown.lines.length).toBeGreaterThan(MOST + 100);
});

it('adds no page behind lines that went while it was asked for', async () => {
  const asked = log.more();
  write(250 + 2 * MOST);
  await asked;
  expect(numbers(log)).toEqual(range(250 + 2 * MOST, 251 + MOST));
});
