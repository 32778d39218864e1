import { expect, it } from 'vitest';
import { Resampler } from './resample';

function tone(hz: number, rate: number, seconds = 0.5): Float32Array {
  return Float32Array.from({ length: rate * seconds }, (_, at) => Math.sin((2 * Math.PI * hz * at) / rate));
}

function through(input: Float32Array, from: number, to: number, block = 128): Float32Array {
  const resampler = new Resampler(from, to);
  const parts: number[] = [];
  for (let at = 0; at < input.length; at += block) parts.push(...resampler.push(input.subarray(at, at + block)));
  return Float32Array.from(parts);
}

const rms = (samples: Float32Array) => Math.sqrt(samples.reduce((sum, each) => sum + each * each, 0) / samples.length);

it.each([[48_000], [44_100], [96_000]])('keeps speech and takes away what 16 kHz can not hold, from %i Hz', (rate) => {
  const kept = through(tone(1000, rate), rate, 16_000);
  expect(Math.abs(kept.length - 8000)).toBeLessThan(80);
  expect(rms(kept.subarray(400))).toBeCloseTo(Math.SQRT1_2, 2);
  expect(rms(through(tone(6000, rate), rate, 16_000).subarray(400))).toBeGreaterThan(0.6);
  expect(rms(through(tone(11_000, rate), rate, 16_000).subarray(400))).toBeLessThan(0.01);
});

it('is the same whatever the blocks are', () => {
  const input = tone(440, 48_000, 0.1);
  const whole = through(input, 48_000, 16_000, input.length);
  const parts = through(input, 48_000, 16_000, 100);
  expect(parts.length).toBe(whole.length);
  expect(Math.max(...parts.map((each, at) => Math.abs(each - whole[at]!)))).toBeLessThan(1e-6);
});

it('leaves 16 kHz alone', () => {
  expect(through(tone(440, 16_000, 0.1), 16_000, 16_000)).toEqual(tone(440, 16_000, 0.1));
});
