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
    return differing(this.fields, this.#fieldsOf(this.#base));
  }

  /** Begins with a record. */
  take(given: Given): void {
    this.#base = given;
    this.fields = this.#fieldsOf(given);
  }

  /** Begins with a record, with what was typed over `over` on top: the fields of `base`, or those that were saved. */
  rebase(given: Given, over: Fields = this.#fieldsOf(this.#base)): void {
    const typed = differing(this.fields, over);
    this.take(given);
    Object.assign(this.fields, typed);
  }

  /** Shows a newer record while nothing was typed. One whose fields are the same is no other to who types. For `$effect`. */
  follow(given: Given): void {
    untrack(() => {
      if (given === this.#base) return;
      if (isEmpty(this.changed)) this.take(given);
      else if (isEmpty(differing(this.#fieldsOf(given), this.#fieldsOf(this.#base)))) this.#base = given;
    });
  }
}

/** The fields of `one` that differ from those of `other`. */
function differing<Fields extends object>(one: Fields, other: Fields): Partial<Fields> {
  return Object.fromEntries(Object.entries(one).filter(([name, value]) => value !== other[name as keyof Fields])) as Partial<Fields>;
}

const isEmpty = (fields: object) => Object.keys(fields).length === 0;
