/** Deleting a conversation, which can be undone for some seconds. */
import { SvelteSet } from 'svelte/reactivity';
import { api, problemText, queries, unwrap } from '~/api';
import { messages } from '~/i18n';
import { tell, undoable } from '~/lib/toasts.svelte';

const t = messages<typeof import('./messages/en.json')>('conversations');
const gone = new SvelteSet<string>();

/** True for a conversation that is being deleted: it is not shown; reactive. */
export function isGone(id: string): boolean {
  return gone.has(id);
}

/** Hides a conversation, and deletes it unless that is undone. */
export function deleteConversation(id: string): void {
  gone.add(id);
  const commit = async () => {
    try {
      await unwrap(api.DELETE('/conversations/{conversation_id}', { params: { path: { conversation_id: id } } }));
    } catch (error) {
      tell(t('not-deleted', { why: problemText(error) }), 'bad');
    }
    await queries.invalidateQueries({ queryKey: ['conversations'] });
    gone.delete(id);
  };
  undoable(t('deleted'), t('undo'), commit, () => gone.delete(id));
}
