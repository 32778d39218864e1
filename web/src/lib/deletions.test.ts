import { QueryObserver } from '@tanstack/svelte-query';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

vi.mock('~/api', async () => {
  const { QueryClient } = await import('@tanstack/svelte-query');
  return { queries: new QueryClient(), problemText: (error: Error) => error.message };
});
import { queries } from '~/api';
import { PendingDeletions } from './deletions';
import { toasts } from './toasts.svelte';

const LEFT_MS = 7000;
let server: string[];
beforeEach(() => {
  vi.useFakeTimers();
  server = ['one', 'two'];
});
afterEach(() => {
  queries.clear();
  vi.useRealTimers();
});

const list = (kind: string) => ({ queryKey: ['things', kind], queryFn: async () => [...server] });
const deletion = (run = async () => void (server = server.filter((each) => each !== 'one'))) => ({ text: 'Deleted', undo: 'Undo', run, lists: [['things']] });

it('hides at once, and shows no list that still holds what was deleted', async () => {
  const gone = new PendingDeletions<string>();
  await queries.fetchQuery(list('left'));
  const seen = new QueryObserver(queries, list('seen'));
  const leave = seen.subscribe(() => {});
  await vi.advanceTimersByTimeAsync(0);
  gone.begin('one', deletion());
  expect([gone.has('one'), gone.has('two')]).toEqual([true, false]);
  await vi.advanceTimersByTimeAsync(LEFT_MS);
  expect(gone.has('one')).toBe(false);
  expect(seen.getCurrentResult().data).toEqual(['two']);
  expect(queries.getQueryData(['things', 'left'])).toBeUndefined();
  leave();
});

it('shows it again when it is undone, and deletes nothing', async () => {
  const gone = new PendingDeletions<string>();
  const onundo = vi.fn();
  gone.begin('one', { ...deletion(), onundo });
  toasts().at(-1)!.action!.run();
  await vi.advanceTimersByTimeAsync(LEFT_MS);
  expect([gone.has('one'), server, onundo.mock.calls.length]).toEqual([false, ['one', 'two'], 1]);
});

it('shows it again when it failed, and says why', async () => {
  const gone = new PendingDeletions<string>();
  gone.begin('one', { ...deletion(() => Promise.reject(new Error('in use'))), failed: (why) => `Not deleted: ${why}` });
  await vi.advanceTimersByTimeAsync(LEFT_MS);
  expect([gone.has('one'), toasts().at(-1)?.text]).toEqual([false, 'Not deleted: in use']);
});
