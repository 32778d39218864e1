/** The control trace of a device, as it comes: bounded, paused and filtered on the page, opened again when it breaks. */
import { createParser } from 'eventsource-parser';
import { ApiProblem, get } from '~/api';

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
const RETRY_MS = 3000;
const SILENT_MS = 40_000;

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
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async #readOnce(outer: AbortSignal): Promise<void> {
    const own = new AbortController();
    const end = () => own.abort();
    outer.addEventListener('abort', end);
    let timer = setTimeout(end, SILENT_MS);
    try {
      const response = await get(`/devices/${encodeURIComponent(this.deviceId)}/trace`, { signal: own.signal, cache: 'no-store' });
      if (!response.body) return;
      this.status = 'live';
      const parser = createParser({
        onEvent: (event) => {
          if (event.event === 'ended') {
            const { reason } = JSON.parse(event.data) as { reason: string };
            if (reason !== 'stop') {
              this.status = 'ended';
              this.reason = reason;
            }
          } else this.#add(event.data);
        },
      });
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(end, SILENT_MS);
        parser.feed(decoder.decode(value, { stream: true }));
      }
    } finally {
      clearTimeout(timer);
      outer.removeEventListener('abort', end);
      own.abort();
    }
  }
}
