import { expect, it } from 'vitest';
import type { LiveEvent } from '~/live/events.svelte';
import { afterEvent, awaited, ended, type LiveTurn } from './turn';

const AT = Date.parse('2026-05-04T12:00:10.000Z');

function after(...events: Partial<LiveEvent>[]): LiveTurn | null {
  return events.reduce<LiveTurn | null>(
    (turn, event) => afterEvent(turn, { at: new Date(AT).toISOString(), session_id: 's', number: 1, event: 'turn_stage', ...event } as LiveEvent, 5_000_000),
    null,
  );
}

it('grows with each stage, and waits for the next', () => {
  expect(awaited(after({ stage: 'endpoint', ms: 600 })!)).toBe('transcript');
  const turn = after({ stage: 'endpoint', ms: 600 }, { stage: 'transcript', ms: 700 }, { stage: 'first_token', ms: 900 })!;
  expect(turn.stages).toEqual({ endpoint: 600, transcript: 700, first_token: 900 });
  expect(turn.since).toBe(5_000_000 - 600);
  expect(awaited(turn)).toBe('first_sentence');
});

it('places tools by the server clock', () => {
  const turn = after({ stage: 'endpoint', ms: 600 }, { event: 'tool_called', tool: 'get_time', ok: true, duration_ms: 40, at: new Date(AT + 400).toISOString() })!;
  expect(turn.tools).toEqual([{ name: 'get_time', ok: true, from: 960, to: 1000 }]);
});

it('becomes the final record', () => {
  const turn = after({ stage: 'endpoint', ms: 600 }, { event: 'turn_ended', stages_ms: { endpoint: 600, stop: 3000 }, outcome: 'answered', providers: { llm: 'offline' } })!;
  expect([turn.over, turn.stages, turn.outcome, turn.providers]).toEqual([true, { endpoint: 600, stop: 3000 }, 'answered', { llm: 'offline' }]);
  expect(awaited(turn)).toBeNull();
});

it('is over when nothing more is told, and goes on when something is', () => {
  const turn = ended(after({ stage: 'endpoint', ms: 600 }))!;
  expect([turn.over, awaited(turn)]).toEqual([true, null]);
  const again = afterEvent(turn, { event: 'turn_stage', at: '', session_id: 's', number: 1, stage: 'transcript', ms: 700 }, 0)!;
  expect([again.over, awaited(again), ended(null)]).toEqual([false, 'first_token', null]);
});

it('stays when a turn without words ends, or another turn', () => {
  const turn = after({ stage: 'endpoint', ms: 600 }, { stage: 'stop', ms: 0, number: 2 }, { event: 'turn_ended', number: 3, stages_ms: {} })!;
  expect(turn.number).toBe(1);
  expect(after({ stage: 'endpoint', ms: 600 }, { stage: 'first_token', ms: 100, number: 2 })?.number).toBe(2);
});
