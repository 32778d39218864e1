import { describe, expect, it } from 'vitest';
import { piecesOf, sumOf } from './intervals';

const at = (hour: number) => new Date(Date.UTC(2026, 0, 5, hour)).toISOString();
const connection = (began: number, ended: number | null) => ({ kind: 'connection' as const, transport: 'mqtt', began_at: at(began), ended_at: ended === null ? null : at(ended), reason: '' });

describe('the bar of connections', () => {
  const history = {
    since: at(0),
    until: at(24),
    intervals: [connection(-2, 6), connection(12, null), { ...connection(13, 14), kind: 'session' as const }],
    server_off: [{ began_at: at(6), ended_at: at(8) }],
  };

  it('cuts what began before, and lets what goes on reach the end', () => {
    expect(piecesOf(history)).toEqual([
      { kind: 'off', left: 6 / 24, width: expect.closeTo(2 / 24, 9) as number },
      { kind: 'connection', left: 0, width: 6 / 24 },
      { kind: 'connection', left: 12 / 24, width: 12 / 24 },
      { kind: 'session', left: 13 / 24, width: expect.closeTo(1 / 24, 9) as number },
    ]);
  });

  it('adds up, overlaps once', () => {
    const hours = (ms: number) => Math.round(ms / 3_600_000);
    const sum = sumOf({ ...history, intervals: [...history.intervals, connection(2, 5)] });
    expect([sum.connected, sum.talking, sum.off, sum.away].map(hours)).toEqual([18, 1, 2, 4]);
  });
});
