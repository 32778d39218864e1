/** Sliders on their way to the device: the last place of each is sent when it stands still, one call at a time. */
import { LEVELS } from './status';

export type Kind = keyof typeof LEVELS;

/** Time for which a slider stands still before its place is sent, in ms. */
const STILL_MS = 300;

export class Moves {
  /** Places that the device does not have yet. */
  places = $state<Partial<Record<Kind, number>>>({});
  readonly #timers: Partial<Record<Kind, ReturnType<typeof setTimeout>>> = {};
  readonly #due = new Set<Kind>();
  #sending = false;

  /** `send` resolves when the device has the level, and when it does not get it. */
  constructor(private readonly send: (kind: Kind, value: number) => Promise<void>) {}

  move(kind: Kind, value: number): void {
    this.places[kind] = value;
    clearTimeout(this.#timers[kind]);
    this.#timers[kind] = setTimeout(() => {
      this.#due.add(kind);
      void this.#sendDue();
    }, STILL_MS);
  }

  async #sendDue(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    for (const kind of this.#due) {
      this.#due.delete(kind);
      const value = this.places[kind];
      if (value === undefined) continue;
      await this.send(kind, value);
      if (this.places[kind] === value) delete this.places[kind];
    }
    this.#sending = false;
  }
}
