/** What the parts of a device's page share: its type, its queries, how it is called, and its commands. */
import { ApiProblem, api, problemText, queries, unwrap, type Api } from '~/api';
import { messages } from '~/i18n';
import { PendingDeletions } from '~/lib/deletions';
import { onEvents } from '~/live/events.svelte';

export type Device = Api<'DeviceFull'>;
export type Summary = Api<'DeviceSummary'>;
export type Patch = Api<'DevicePatch'>;
export type Tool = Api<'Tool'>;

/** Devices that are about to be forgotten or were given away, and are not shown any more. */
export const leaving = new PendingDeletions<string>();

const t = messages<typeof import('./messages/en.json')>('devices');

/** The name that people know a device by. */
export function nameOf(device: { id: string; name?: string }): string {
  return device.name || device.id;
}

export const path = (id: string) => ({ path: { device_id: id } });

export const deviceQuery = (id: string) => ({
  queryKey: ['devices', id],
  queryFn: ({ signal }: { signal: AbortSignal }) => unwrap(api.GET('/devices/{device_id}', { params: path(id), signal })),
});

const TOUCHING = ['device_booted', 'device_connected', 'device_gone', 'device_revoked', 'session_opened', 'session_ended'] as const;

/** Asks everything about one device again when something happened to it. For `$effect`. */
export function followDevice(id: string): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = onEvents(TOUCHING, (event) => {
    if (event.device_id !== id) return;
    timer ??= setTimeout(() => {
      timer = undefined;
      void queries.invalidateQueries({ queryKey: ['devices', id] });
    }, 200);
  });
  return () => {
    stop();
    clearTimeout(timer);
  };
}

/** Puts a change of settings, made to the version that was shown. Raises ApiProblem: 412 when there is a newer one. */
export async function save(device: Pick<Summary, 'id' | 'version'>, patch: Patch): Promise<Summary> {
  const saved = await unwrap(api.PATCH('/devices/{device_id}', { params: { ...path(device.id), header: { 'if-match': `"${device.version}"` } }, body: patch }));
  queries.setQueryData(['devices', device.id], (known: Device | undefined) => (known ? { ...known, ...saved, ...withoutNulls(patch) } : known));
  void queries.invalidateQueries({ queryKey: ['devices'] });
  return saved;
}

function withoutNulls(patch: Patch): Partial<Device> {
  const { notes, user_name } = patch;
  return { ...(notes != null ? { notes } : {}), ...(user_name != null ? { user_name } : {}) };
}

const REFUSALS = ['not_connected', 'no_session', 'unsupported', 'busy', 'not_allowed', 'unknown_device', 'too_long', 'timed_out', 'failed'] as const;

/** Why a command was not carried out, in the person's words; the server's own sentence where it says more. */
export function commandProblem(error: unknown): string {
  if (error instanceof ApiProblem) {
    const known = REFUSALS.find((reason) => reason === error.reason);
    if (known === 'failed' || known === 'unsupported') return `${t(`refused-${known}`)} ${error.detail}`;
    if (known) return t(`refused-${known}`);
  }
  return problemText(error);
}

const HOWS = ['spoken', 'shown', 'waiting', 'sent', 'fetching'] as const;

/** What became of a command that tells a device something. */
export function commandResult(done: Api<'CommandDone'>): string {
  const how = HOWS.find((word) => word === done.result.how);
  return how ? t(`how-${how}`) : t('done');
}
