/** How states of roll-outs and of the devices in them are shown. */
import type { Api } from '~/api';
import { messages } from '~/i18n';
import { PendingDeletions } from '~/lib/deletions';

type Key = Parameters<ReturnType<typeof messages<typeof import('./messages/en.json')>>>[0];
export type RollOut = Api<'RollOutRead'>;
export type Progress = Api<'DeviceInRollOut'>['state'];
export type Tone = 'plain' | 'good' | 'warn' | 'bad' | 'info' | 'accent';

export const t = messages<typeof import('./messages/en.json')>('firmware');

/** Images and roll-outs that are about to be deleted, and not shown any more. */
export const leaving = { images: new PendingDeletions<number>(), rollOuts: new PendingDeletions<number>() };

/** The states of devices, in the order in which they come. */
export const STATES = ['done', 'downloaded', 'downloading', 'offered', 'failed', 'gone'] as const satisfies readonly Progress[];

export const toneOfDevice: Record<Progress, Tone> = { offered: 'plain', downloading: 'info', downloaded: 'accent', done: 'good', failed: 'bad', gone: 'warn' };
const toneOfRollOut: Record<RollOut['state'], Tone> = { running: 'info', paused: 'warn', halted: 'bad', ended: 'plain', 'rolled back': 'plain' };

export const deviceState = (state: Progress) => t(`progress-${state}` as Key);
export const kindText = (kind: RollOut['kind']) => t(`kind-${kind}` as Key);

/** The state of a roll-out in a word, and its tone; one that starts later waits. */
export function stateOf(rollout: RollOut, now: number): { text: string; tone: Tone } {
  if (rollout.state === 'running' && rollout.starts_at && Date.parse(rollout.starts_at) > now) return { text: t('state-waiting'), tone: 'plain' };
  return { text: t(`state-${rollout.state.replace(' ', '-')}` as Key), tone: toneOfRollOut[rollout.state] };
}

export const isOver = (rollout: RollOut) => rollout.state === 'ended' || rollout.state === 'rolled back';

/** The numbers of a roll-out's devices for a stacked bar. */
export function partsOf(counts: RollOut['counts']) {
  return STATES.map((state) => ({ id: state, label: deviceState(state), count: counts[state] ?? 0, tone: toneOfDevice[state] }));
}

export const totalOf = (counts: RollOut['counts']) => Object.values(counts).reduce((sum, count) => sum + count, 0);

/** The name of a roll-out; the server names those that take another one back in English. */
export const titleOf = (rollout: RollOut) => (rollout.kind === 'roll-back' ? t('back-name', { version: rollout.image.version }) : rollout.name) || t('rollout-title', { version: rollout.image.version, board: rollout.image.board_name || rollout.image.board });
