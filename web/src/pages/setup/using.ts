/** Has an agent ask a provider first. */
import { api, unwrap, type Api } from '~/api';

/**
 * Has the agent `key` ask `provider` for `role`, and what the server finds by itself when that fails; nothing to do when
 * it asks the provider already. Raises ApiProblem, such as for a list that broker.yaml sets.
 */
export async function askFirst(key: string, role: Api<'FoundProvider'>['role'], provider: string): Promise<void> {
  if (role === 'vad' || role === 's2s') return;
  const { items } = await unwrap(api.GET('/providers', { params: { query: { role } } }));
  if (items.some((each) => each.name === provider && each.place !== null)) return;
  await unwrap(api.PATCH('/agents/{key}', { params: { path: { key } }, body: { [role]: [provider, 'auto'] } }));
}
