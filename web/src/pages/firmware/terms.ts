/** The terms of a roll-out as the form has them, and as the API takes them. */
import type { Api } from '~/api';

export interface Draft {
  name: string;
  who: 'share' | 'listed';
  percent: number;
  devices: string[];
  channel: string;
  owners: string[];
  groups: string[];
  /** Local times as inputs have them; empty: at once, never. */
  starts: string;
  ends: string;
  force: boolean;
  haltAfter: number | null;
  haltPercent: number | null;
  comeBack: number | null;
}

/** A moment as an input for local times has it. */
export function localInput(at: string | null): string {
  if (!at) return '';
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export function draftOf(image: Api<'Firmware'>, rollout?: Api<'RollOutRead'>): Draft {
  return {
    name: rollout?.name ?? '',
    who: rollout?.devices.length ? 'listed' : 'share',
    percent: rollout?.percent ?? 10,
    devices: [...(rollout?.devices ?? [])],
    channel: rollout?.channel ?? image.channel,
    owners: [...(rollout?.owners ?? [])],
    groups: [...(rollout?.groups ?? [])],
    starts: localInput(rollout?.starts_at ?? null),
    ends: localInput(rollout?.ends_at ?? null),
    force: rollout?.force ?? false,
    haltAfter: rollout?.halt_after ?? 2,
    haltPercent: rollout?.halt_percent ?? 10,
    comeBack: rollout?.come_back_min ?? 15,
  };
}

const moment = (local: string) => (local ? new Date(local).toISOString() : null);

export function bodyOf(draft: Draft) {
  const listed = draft.who === 'listed';
  return {
    name: draft.name.trim(),
    percent: listed ? 100 : draft.percent,
    devices: listed ? [...draft.devices] : [],
    channel: draft.channel.trim(),
    owners: [...draft.owners],
    groups: [...draft.groups],
    starts_at: moment(draft.starts),
    ends_at: moment(draft.ends),
    force: draft.force,
    halt_after: draft.haltAfter ?? 2,
    halt_percent: draft.haltPercent ?? 10,
    come_back_min: draft.comeBack ?? 15,
  };
}
