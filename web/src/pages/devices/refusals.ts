/** Refusing a device that waits to be let in, which can be undone for some seconds; also of the set-up. */
import { api, unwrap, type Api } from '~/api';
import { PendingDeletions } from '~/lib/deletions';

const refused = new PendingDeletions<number>();

/** True for one that is being refused: it is not shown; reactive. */
export function isRefused(activation: Api<'PendingActivation'>): boolean {
  return refused.has(activation.id);
}

/** Hides one, and refuses it unless that is undone. `text` and `undo` are what the note says, and its button. */
export function refuse(activation: Api<'PendingActivation'>, text: string, undo: string): void {
  refused.begin(activation.id, {
    text,
    undo,
    run: () => unwrap(api.DELETE('/activations/{activation_id}', { params: { path: { activation_id: activation.id } } })),
    lists: [['activations'], ['devices', 'list']],
  });
}
