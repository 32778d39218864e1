import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { reloads, reloadWhenServed } from './updated';

beforeEach(() => {
  const kept = new Map<string, string>();
  vi.stubGlobal('sessionStorage', { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => kept.set(key, value) });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** Lets the server answer with `statuses`, in their order, 0 for not at all; the last one stays. */
function server(...statuses: number[]) {
  const asked = vi.fn(() => {
    const status = statuses.length > 1 ? statuses.shift()! : statuses[0]!;
    return status ? Promise.resolve({ ok: status < 400 }) : Promise.reject(new TypeError('refused'));
  });
  vi.stubGlobal('fetch', asked);
  return asked;
}

it('loads the page again once an update', () => {
  expect([reloads('index-A.js', '/agents'), reloads('index-A.js', '/agents'), reloads('index-B.js', '/agents'), reloads('index-B.js', '/agents')]).toEqual([true, false, true, false]);
});

it('loads the page again at once, and once, where the server answers', async () => {
  server(200);
  const page = { away: vi.fn(), reload: vi.fn() };
  await reloadWhenServed('index-A.js', '/agents', page);
  await reloadWhenServed('index-A.js', '/agents', page);
  expect([page.away.mock.calls.length, page.reload.mock.calls.length]).toEqual([0, 1]);
});

it('waits for a server that is away, and says so once', async () => {
  vi.useFakeTimers();
  const asked = server(0, 503, 0, 200);
  const page = { away: vi.fn(), reload: vi.fn() };
  const done = reloadWhenServed('index-A.js', '/agents', page);
  await reloadWhenServed('index-A.js', '/agents', page);
  await vi.advanceTimersByTimeAsync(6000);
  expect([asked.mock.calls.length, page.away.mock.calls.length, page.reload.mock.calls.length]).toEqual([3, 1, 0]);
  await vi.advanceTimersByTimeAsync(3000);
  await done;
  expect([asked.mock.calls.length, page.reload.mock.calls.length]).toEqual([4, 1]);
});

it('loads the page again each time the server was away', async () => {
  vi.useFakeTimers();
  const page = { away: vi.fn(), reload: vi.fn() };
  for (let time = 0; time < 2; time++) {
    server(0, 200);
    const done = reloadWhenServed('index-A.js', '/agents', page);
    await vi.advanceTimersByTimeAsync(3000);
    await done;
  }
  expect(page.reload).toHaveBeenCalledTimes(2);
});
