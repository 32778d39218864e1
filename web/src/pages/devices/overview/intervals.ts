/** Places of intervals on a bar, and what they add up to. */
import type { Api } from '~/api';

export interface Piece {
  kind: 'connection' | 'session' | 'off';
  /** Shares of the bar, 0 to 1. */
  left: number;
  width: number;
}

export interface Sum {
  connected: number;
  talking: number;
  off: number;
  away: number;
}

type History = Pick<Api<'Connections'>, 'since' | 'until' | 'intervals' | 'server_off'>;

/** Pieces of the bar in the order in which they are drawn: a session lies on its connection. */
export function piecesOf(history: History): Piece[] {
  const since = Date.parse(history.since);
  const whole = Date.parse(history.until) - since;
  const place = (kind: Piece['kind'], began: string, ended: string | null): Piece => {
    const left = Math.max(0, (Date.parse(began) - since) / whole);
    const right = ended === null ? 1 : Math.min(1, (Date.parse(ended) - since) / whole);
    return { kind, left, width: Math.max(0, right - left) };
  };
  const order = { off: 0, connection: 1, session: 2 };
  return [
    ...history.server_off.map((each) => place('off', each.began_at, each.ended_at)),
    ...history.intervals.map((each) => place(each.kind, each.began_at, each.ended_at)),
  ].sort((a, b) => order[a.kind] - order[b.kind]);
}

/** Milliseconds of each kind. Overlaps, as of a connection that was taken over, count once. */
export function sumOf(history: History): Sum {
  const whole = Date.parse(history.until) - Date.parse(history.since);
  const of = (kind: Piece['kind']) => {
    const pieces = piecesOf(history).filter((piece) => piece.kind === kind).sort((a, b) => a.left - b.left);
    let reached = 0;
    let sum = 0;
    for (const { left, width } of pieces) {
      const from = Math.max(left, reached);
      sum += Math.max(0, left + width - from);
      reached = Math.max(reached, left + width);
    }
    return sum * whole;
  };
  const [connected, talking, off] = [of('connection'), of('session'), of('off')];
  return { connected, talking, off, away: Math.max(0, whole - connected - off) };
}
