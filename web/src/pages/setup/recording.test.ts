import { expect, it } from 'vitest';
import { wav } from './recording';

it('writes samples as 16-bit WAV, bounded at full scale', () => {
  const view = new DataView(wav(new Float32Array([0, 1, -2, 0.5]), 16_000));
  expect(view.byteLength).toBe(52);
  expect(view.getUint32(24, true)).toBe(16_000);
  expect(view.getUint32(40, true)).toBe(8);
  expect([0, 1, 2, 3].map((at) => view.getInt16(44 + 2 * at, true))).toEqual([0, 32_767, -32_767, 16_383]);
});
