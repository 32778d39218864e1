/** The turn that runs, by the events that tell of its stages, and its waterfall. */
import { toolText, type Stages } from '~/lib/turn';
import type { LiveEvent } from '~/live/events.svelte';

export interface ToolSpan {
  name: string;
  from: number;
  to: number;
  ok: boolean;
}

export interface LiveTurn {
  session: string;
  number: number;
  stages: Stages;
  tools: ToolSpan[];
  /** The end of the user's speech by this browser's clock, in ms since 1970. */
  since: number;
  /** The same by the server's clock. */
  sinceThere: number;
  over: boolean;
  outcome: string;
  providers: Record<string, string>;
}

const number = (value: unknown) => (typeof value === 'number' ? value : 0);
const text = (value: unknown) => (typeof value === 'string' ? value : '');

/** The turn after an event; `now` is this browser's clock in ms since 1970. */
export function afterEvent(turn: LiveTurn | null, event: LiveEvent, now: number): LiveTurn | null {
  const same = turn !== null && turn.session === event.session_id && turn.number === event.number;
  switch (event.event) {
    case 'turn_stage': {
      const stage = text(event.stage);
      const ms = number(event.ms);
      // Of a turn that was given up with a lost connection, more may be told after all.
      if (same) return { ...turn, stages: { ...turn.stages, [stage]: ms }, over: turn.outcome !== '' };
      // The end of a turn in which nobody said anything is not worth the place of the one before.
      if (stage === 'stop') return turn;
      return {
        session: text(event.session_id),
        number: number(event.number),
        stages: { [stage]: ms },
        tools: [],
        since: now - ms,
        sinceThere: Date.parse(event.at) - ms,
        over: false,
        outcome: '',
        providers: {},
      };
    }
    case 'tool_called': {
      if (turn === null || turn.over) return turn;
      const to = Date.parse(event.at) - turn.sinceThere;
      const called = { name: toolText(text(event.tool)), from: to - number(event.duration_ms), to, ok: event.ok === true };
      return { ...turn, tools: [...turn.tools, called] };
    }
    case 'turn_ended':
      if (!same) return turn;
      return {
        ...turn,
        stages: event.stages_ms as Stages,
        providers: (event.providers ?? {}) as Record<string, string>,
        outcome: text(event.outcome),
        over: true,
      };
  }
  return turn;
}

/** The turn when nothing more will be told of it. */
export function ended(turn: LiveTurn | null): LiveTurn | null {
  return turn && { ...turn, over: true };
}

/** The stage that the turn is in: the next one to be reached; null for one that is over. */
export function awaited(turn: LiveTurn): 'transcript' | 'first_token' | 'first_sentence' | 'first_audio' | 'stop' | null {
  if (turn.over || turn.stages.stop !== undefined) return null;
  if (turn.stages.first_audio !== undefined) return 'stop';
  if (turn.stages.first_sentence !== undefined) return 'first_audio';
  if (turn.stages.first_token !== undefined) return 'first_sentence';
  return turn.stages.transcript !== undefined || turn.stages.endpoint === undefined ? 'first_token' : 'transcript';
}
