import { expect, it } from 'vitest';
import { outline, peaks } from './sound';

it('finds the loudest sample of each part', () => {
  expect(peaks(Float32Array.from([0, 0.5, -0.75, 0, 0, 0.25]), 3)).toEqual([0.5, 0.75, 0.25]);
});

it('draws silence as a line, and not as noise', () => {
  expect(outline([0, 0])).toBe('M0,1L0.5,0.970L1.5,0.970L2,1L1.5,1.030L0.5,1.030Z');
});
