/** What a person types over a record of the server: what comes from there meanwhile takes nothing of it away. */
import { untrack } from 'svelte';

export class Typed<Given, Fields extends object> {
  fields = $state() as Fields;
  #base = $state.raw() as Given;
  readonly #fieldsOf: (given: Given) => Fields;

  constructor(given: Given, fieldsOf: (given: Given) => Fields) {
    this.#fieldsOf = fieldsOf;
    this.take(given);
  }

  /** The record as it was when the person began to type: a change is made to this version of it. */
  get base(): Given {
    return this.#base;
  }

  /** The fields that differ from `base`. */
  get changed(): Partial<Fields> {
    const before = this.#fieldsOf(this.#base);
    return Object.fromEntries(Object.entries(this.fields).filter(([name, value]) => value !== before[name as keyof Fields])) as Partial<Fields>;
  }

  /** Begins with a record. */
  take(given: Given): void {
    this.#base = given;
    this.fields = this.#fieldsOf(given);
  }

  /** Begins with a record, with what was typed on top. */
  rebase(given: Given): void {
    const typed = this.changed;
    this.take(given);
    Object.assign(this.fields, typed);
  }

  /** Shows a newer record while nothing was typed. For `$effect`. */
  follow(given: Given): void {
    untrack(() => {
      if (given !== this.#base && Object.keys(this.changed).length === 0) this.take(given);
    });
  }
}
