/** A turn's parts on a time line, from the moments that its record has. */

/** ms from the end of the user's speech to each stage that was reached; `tools` is a length. */
export type Stages = Record<string, number>;

export type SpanKind = 'endpoint' | 'transcript' | 'think' | 'speech' | 'audio' | 'tool';

export interface StageSpan {
  stage: 'endpoint' | 'transcript' | 'first_token' | 'first_sentence' | 'first_audio' | 'stop';
  kind: SpanKind;
  from: number;
  to: number;
}

const ORDER: readonly [StageSpan['stage'], SpanKind][] = [
  ['endpoint', 'endpoint'],
  ['transcript', 'transcript'],
  ['first_token', 'think'],
  ['first_sentence', 'think'],
  ['first_audio', 'audio'],
  ['stop', 'speech'],
];

const ROLES: Partial<Record<StageSpan['stage'], string>> = { transcript: 'stt', first_token: 'llm', first_sentence: 'llm', first_audio: 'tts' };

/** How the part of a turn that leads to a stage is shown. */
export function kindOf(stage: StageSpan['stage']): SpanKind {
  return ORDER.find(([name]) => name === stage)![1];
}

/** The provider that worked in the part that leads to a stage: that of its role, or the one that does all of them. */
export function providerOf(stage: StageSpan['stage'], providers: Readonly<Record<string, string>>): string | undefined {
  const role = ROLES[stage];
  return role === undefined ? undefined : (providers[role] ?? providers.s2s);
}

/**
 * The spans between the stages that were reached. A stage may be reached before the one in front of it, as when the answer
 * was begun at the first short silence: its span then begins where it ends at the latest.
 */
export function spansOf(stages: Stages): StageSpan[] {
  const found: StageSpan[] = [];
  let before = 0;
  for (const [stage, kind] of ORDER) {
    const at = stages[stage];
    if (at === undefined) continue;
    found.push({ stage, kind, from: Math.min(before, at), to: at });
    before = Math.max(before, at);
  }
  return found;
}

/** A tool's name as its device or server writes it: what a model is told has no dots. */
export function toolText(name: string): string {
  return name.replaceAll('__', '.');
}
