/** Words of the server, as people read them. */
import { messages } from '~/i18n';
import type { StageSpan } from '~/lib/turn';

const t = messages<typeof import('./messages/en.json')>('conversations');

export type Tone = 'plain' | 'good' | 'warn' | 'bad' | 'info';

const OUTCOMES = {
  answered: ['outcome-answered', 'good'],
  interrupted: ['outcome-interrupted', 'info'],
  aborted: ['outcome-aborted', 'info'],
  stopped: ['outcome-stopped', 'plain'],
  closed: ['outcome-closed', 'plain'],
  'nothing heard': ['outcome-nothing-heard', 'warn'],
  stuck: ['outcome-stuck', 'bad'],
  failed: ['outcome-failed', 'bad'],
} as const;

export const outcomes = Object.keys(OUTCOMES) as (keyof typeof OUTCOMES)[];

/** The outcome of a turn in words; the server's own word where there is no other. */
export function outcomeText(outcome: string): string {
  return Object.hasOwn(OUTCOMES, outcome) ? t(OUTCOMES[outcome as keyof typeof OUTCOMES][0]) : outcome;
}

export function outcomeTone(outcome: string): Tone {
  return Object.hasOwn(OUTCOMES, outcome) ? OUTCOMES[outcome as keyof typeof OUTCOMES][1] : 'plain';
}

const ERRORS = {
  timeout: 'error-timeout',
  unavailable: 'error-unavailable',
  refused: 'error-refused',
  rate_limited: 'error-rate-limited',
  not_configured: 'error-not-configured',
  bad_answer: 'error-bad-answer',
  audio: 'error-audio',
  internal: 'error-internal',
  stuck: 'error-stuck',
  too_late: 'error-too-late',
} as const;

/** The reason of a failure in words. */
export function errorText(error: string): string {
  return Object.hasOwn(ERRORS, error) ? t(ERRORS[error as keyof typeof ERRORS]) : error;
}

const KINDS = { utterance: 'kind-utterance', 'wake word': 'kind-wake-word', greeting: 'kind-greeting', announcement: 'kind-announcement' } as const;

/** The cause of a turn in words. */
export function kindText(kind: string): string {
  return Object.hasOwn(KINDS, kind) ? t(KINDS[kind as keyof typeof KINDS]) : kind;
}

const STAGES = {
  endpoint: 'stage-endpoint',
  transcript: 'stage-transcript',
  first_token: 'stage-first-token',
  first_sentence: 'stage-first-sentence',
  first_audio: 'stage-first-audio',
  stop: 'stage-stop',
} as const;

export function stageText(stage: StageSpan['stage']): string {
  return t(STAGES[stage]);
}

const ROLES = { stt: 'role-stt', llm: 'role-llm', tts: 'role-tts', s2s: 'role-s2s' } as const;

/** The role of a provider in words. */
export function roleText(role: string): string {
  return Object.hasOwn(ROLES, role) ? t(ROLES[role as keyof typeof ROLES]) : role;
}
