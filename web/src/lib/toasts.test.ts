import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { commitAll, toasts, undoable, undoAll } from './toasts.svelte';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('does at once what waits, and resolves when that and what had begun is done', async () => {
  const ends: (() => void)[] = [];
  const commit = () => new Promise<void>((resolve) => ends.push(resolve));
  undoable('one', 'undo', commit, () => {});
  await vi.advanceTimersByTimeAsync(7000);
  undoable('two', 'undo', commit, () => {});
  expect(ends).toHaveLength(1);
  let all = false;
  const done = commitAll().then(() => (all = true));
  expect([ends.length, toasts()]).toEqual([2, []]);
  ends[0]!();
  await vi.advanceTimersByTimeAsync(0);
  expect(all).toBe(false);
  ends[1]!();
  await done;
});

it('undoes all when nobody is left who may do it', async () => {
  const undone: string[] = [];
  const commit = vi.fn(async () => {});
  undoable('one', 'undo', commit, () => undone.push('one'));
  undoable('two', 'undo', commit, () => undone.push('two'));
  undoAll();
  await vi.advanceTimersByTimeAsync(10_000);
  expect([undone, commit.mock.calls, toasts()]).toEqual([['one', 'two'], [], []]);
});
