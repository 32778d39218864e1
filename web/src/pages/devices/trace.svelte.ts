/** The control trace of a device, as it comes: bounded, paused and filtered on the page, opened again when it breaks. */
import { ApiProblem } from '~/api';
import { beforeRetry, readEvents } from '~/live/stream';

export interface Line {
  number: number;
  at: string;
  direction: 'up' | 'down';
  type: string;
  size: number;
  message: unknown;
}

export type TraceStatus = 'connecting' | 'live' | 'lost' | 'ended' | 'refused';

/** Lines that the page keeps; the oldest go. */
export const MAX_LINES = 1000;

export class Trace {
  lines = $state.raw<readonly Line[]>([]);
  status = $state<TraceStatus>('connecting');
  /** Why the server ended it, or refused it. */
  reason = $state('');
  paused = $state(false);
  /** Lines that came while it was paused. */
  waiting = $state(0);
  #held: Line[] = [];
  #fresh: Line[] = [];
  #number = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: AbortController | undefined;

  constructor(readonly deviceId: string) {}

  open(): void {
    this.#running?.abort();
    this.#running = new AbortController();
    // One that was ended would count as ended again with the next attempt that fails.
    this.status = 'connecting';
    void this.#keepOpen(this.#running.signal);
  }

  close(): void {
    this.#running?.abort();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  pause(): void {
    this.#flush();
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.#fresh.push(...this.#held);
    this.#held = [];
    this.waiting = 0;
    this.#flush();
  }

  clear(): void {
    this.lines = [];
    this.#held = [];
    this.#fresh = [];
    this.waiting = 0;
  }

  #add(data: string): void {
    const line = { ...(JSON.parse(data) as Omit<Line, 'number'>), number: ++this.#number };
    if (this.paused) {
      this.#held.push(line);
      if (this.#held.length > MAX_LINES) this.#held.shift();
      this.waiting = this.#held.length;
      return;
    }
    this.#fresh.push(line);
    // A hundred at once are shown at once.
    this.#timer ??= setTimeout(() => this.#flush(), 100);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#fresh.length === 0) return;
    this.lines = [...this.lines, ...this.#fresh].slice(-MAX_LINES);
    this.#fresh = [];
  }

  async #keepOpen(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#readOnce(signal);
      } catch (error) {
        if (error instanceof ApiProblem && !error.unreachable) {
          this.status = 'refused';
          this.reason = error.detail;
          return;
        }
      }
      if (signal.aborted || this.status === 'ended') return;
      this.status = 'lost';
      await beforeRetry(signal);
    }
  }

  #readOnce(signal: AbortSignal): Promise<void> {
    return readEvents(`/devices/${encodeURIComponent(this.deviceId)}/trace`, {
      signal,
      opened: () => {
        this.status = 'live';
      },
      told: (message) => {
        if (message.event !== 'ended') return this.#add(message.data);
        const { reason } = JSON.parse(message.data) as { reason: string };
        if (reason === 'stop') return;
        this.status = 'ended';
        this.reason = reason;
      },
    });
  }
}
