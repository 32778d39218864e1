/** What the pages of agents, providers and prices share: their messages, and the history of each. */
import { api, unwrap, type Api } from '~/api';
import { loadMessages, messages } from '~/i18n';

await loadMessages('managed');

export const shared = messages<typeof import('./messages/en.json')>('managed');

export type Kind = 'agent' | 'provider' | 'price';
export type Version = Api<'VersionOut'>;

/** The three have the same routes below their own path. */
const PATHS: Record<Kind, string> = { agent: '/agents', provider: '/providers', price: '/prices' };

/** The versions of one, the newest first. Raises ApiProblem. */
export async function versionsOf(kind: Kind, key: string, signal?: AbortSignal): Promise<Version[]> {
  const path = `${PATHS[kind]}/{key}/versions` as '/agents/{key}/versions';
  return (await unwrap(api.GET(path, { params: { path: { key } }, signal }))).items;
}

/** The fields in which two versions differ. Raises ApiProblem. */
export async function differencesOf(kind: Kind, key: string, before: number, after: number, signal?: AbortSignal): Promise<Api<'FieldDifference'>[]> {
  const path = `${PATHS[kind]}/{key}/diff` as '/agents/{key}/diff';
  return (await unwrap(api.GET(path, { params: { path: { key }, query: { before, after } }, signal }))).items;
}

/** Makes an earlier version the present one. Raises ApiProblem. */
export async function restore(kind: Kind, key: string, version: number): Promise<Api<'Restored'>> {
  const path = `${PATHS[kind]}/{key}/restore` as '/agents/{key}/restore';
  return unwrap(api.POST(path, { params: { path: { key } }, body: { version } }));
}
