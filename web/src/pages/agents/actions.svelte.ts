/** What can be done with an agent from its row and from its page. */
import { SvelteSet } from 'svelte/reactivity';
import { api, problemText, queries, unwrap, type Api } from '~/api';
import { tell, undoable } from '~/lib/toasts.svelte';
import { shared } from '../managed';
import { t } from './words';

/** Agents that are about to be deleted, and not shown any more. */
export const leaving = new SvelteSet<string>();

/** Deletes what people set of an agent, unless that is undone in a while. */
export function remove(agent: Api<'AgentOut'>): void {
  const { key } = agent;
  if (agent.source === 'managed') leaving.add(key);
  const shown = () => leaving.delete(key);
  undoable(
    agent.source === 'managed' ? t('deleted', { name: String(agent.settings.name ?? key) }) : t('taken-back'),
    shared('undo'),
    () =>
      unwrap(api.DELETE('/agents/{key}', { params: { path: { key } } }))
        .catch((error) => tell(problemText(error), 'bad'))
        .then(() => queries.invalidateQueries({ queryKey: ['agents'] }))
        .finally(shown),
    shown,
  );
}
