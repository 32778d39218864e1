import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Moves, type Kind } from './moves.svelte';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A device that has what it is sent when `answer` is called. */
function device() {
  const sent: [Kind, number][] = [];
  const waiting: (() => void)[] = [];
  const moves = new Moves((kind, value) => {
    sent.push([kind, value]);
    return new Promise((resolve) => waiting.push(resolve));
  });
  const answer = async () => {
    waiting.shift()!();
    await vi.advanceTimersByTimeAsync(0);
  };
  return { sent, moves, answer };
}

it('sends both sliders, one after the other', async () => {
  const { sent, moves, answer } = device();
  moves.move('volume', 30);
  moves.move('brightness', 60);
  await vi.advanceTimersByTimeAsync(300);
  expect([sent, moves.places]).toEqual([[['volume', 30]], { volume: 30, brightness: 60 }]);
  await answer();
  expect([sent.at(-1), moves.places]).toEqual([['brightness', 60], { brightness: 60 }]);
  await answer();
  expect(moves.places).toEqual({});
});

it('sends the last place of a slider that moves on during a call', async () => {
  const { sent, moves, answer } = device();
  moves.move('volume', 30);
  await vi.advanceTimersByTimeAsync(300);
  moves.move('volume', 35);
  moves.move('volume', 40);
  await vi.advanceTimersByTimeAsync(300);
  expect(sent).toEqual([['volume', 30]]);
  await answer();
  await answer();
  expect([sent, moves.places]).toEqual([[['volume', 30], ['volume', 40]], {}]);
});
