/** Deleting a conversation, which can be undone for some seconds. */
import { api, unwrap } from '~/api';
import { messages } from '~/i18n';
import { PendingDeletions } from '~/lib/deletions';

const t = messages<typeof import('./messages/en.json')>('conversations');
const gone = new PendingDeletions<string>();

/** True for a conversation that is being deleted: it is not shown; reactive. */
export function isGone(id: string): boolean {
  return gone.has(id);
}

/** Hides a conversation, and deletes it unless that is undone. */
export function deleteConversation(id: string): void {
  gone.begin(id, {
    text: t('deleted'),
    undo: t('undo'),
    run: () => unwrap(api.DELETE('/conversations/{conversation_id}', { params: { path: { conversation_id: id } } })),
    lists: [['conversations']],
    failed: (why) => t('not-deleted', { why }),
  });
}
