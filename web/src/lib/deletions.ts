/** Deletions that can be undone for some seconds, on whatever page the person is by then. */
import type { QueryKey } from '@tanstack/svelte-query';
import { SvelteSet } from 'svelte/reactivity';
import { problemText, queries } from '~/api';
import { tell, undoable } from './toasts.svelte';

export interface Deletion {
  /** What the note says, and its button. */
  text: string;
  undo: string;
  /** Deletes it. Raises ApiProblem. It runs when the page may be gone: what it needs of it, it has before. */
  run: () => Promise<unknown>;
  /** The keys of the queries that hold it. */
  lists: readonly QueryKey[];
  /** What is said when it failed; the problem's own words otherwise. */
  failed?: (why: string) => string;
  /** Called when the person undoes it. */
  onundo?: () => void;
}

/**
 * Items of one kind that are about to be deleted, and not shown any more. A constant of a module: a page that is left and come
 * back to meanwhile still hides them.
 */
export class PendingDeletions<Id extends string | number> {
  readonly #ids = new SvelteSet<Id>();

  /** True for one that is hidden; reactive. */
  has(id: Id): boolean {
    return this.#ids.has(id);
  }

  /** Hides one, as when it is no longer the person's; `show` is the end of it. */
  hide(id: Id): void {
    this.#ids.add(id);
  }

  show(id: Id): void {
    this.#ids.delete(id);
  }

  /** Hides one, and deletes it unless that is undone; it is shown again when it is undone or has failed. */
  begin(id: Id, { text, undo, run, lists, failed = (why) => why, onundo }: Deletion): void {
    this.hide(id);
    const commit = async () => {
      try {
        await run();
      } catch (error) {
        tell(failed(problemText(error)), 'bad');
      }
      // A list that nobody looks at would show it again, when it is come back to, until it is loaded.
      for (const queryKey of lists) queries.removeQueries({ queryKey, predicate: (query) => query.getObserversCount() === 0 });
      await Promise.all(lists.map((queryKey) => queries.invalidateQueries({ queryKey })));
      this.show(id);
    };
    undoable(text, undo, commit, () => {
      this.show(id);
      onundo?.();
    });
  }
}
