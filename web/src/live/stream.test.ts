import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { keepReading } from './stream';

const page = Object.assign(new EventTarget(), { visibilityState: 'visible' });

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('document', page);
  vi.stubGlobal('window', new EventTarget());
  page.visibilityState = 'visible';
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function turn(visibilityState: 'visible' | 'hidden', ms = 0): Promise<void> {
  page.visibilityState = visibilityState;
  page.dispatchEvent(new Event('visibilitychange'));
  await vi.advanceTimersByTimeAsync(ms);
}

/** Streams that end when they are told to, or by `fail`. */
function streams(kept = () => false) {
  const read = { begun: 0, open: 0, broken: 0, fail: () => {} };
  const ended = new AbortController();
  const one = (signal: AbortSignal) => {
    [read.begun, read.open] = [read.begun + 1, read.open + 1];
    return new Promise<void>((_, reject) => {
      read.fail = () => { read.open -= 1; reject(new Error('broken')); };
      signal.addEventListener('abort', () => read.fail());
    });
  };
  void keepReading(one, ended.signal, () => (read.broken += 1), kept);
  return { read, end: () => ended.abort() };
}

it('has no stream when the page was hidden for a while, and one again when it is seen', async () => {
  const { read, end } = streams();
  await turn('hidden', 29_000);
  await turn('visible', 60_000);
  expect([read.begun, read.open]).toEqual([1, 1]);
  await turn('hidden', 30_000);
  expect([read.begun, read.open]).toEqual([1, 0]);
  await turn('hidden', 600_000);
  await turn('visible');
  expect([read.begun, read.open, read.broken]).toEqual([2, 1, 0]);
  end();
  await turn('visible', 60_000);
  expect([read.begun, read.open, read.broken]).toEqual([2, 0, 0]);
});

it('keeps the stream of a hidden page that wants it', async () => {
  const { read, end } = streams(() => true);
  await turn('hidden', 60_000);
  expect(read.open).toBe(1);
  end();
});

it('opens a stream that broke again', async () => {
  const { read, end } = streams();
  await turn('visible');
  read.fail();
  await turn('visible');
  expect([read.broken, read.open]).toEqual([1, 0]);
  await turn('visible', 3000);
  expect([read.begun, read.open]).toEqual([2, 1]);
  end();
});
