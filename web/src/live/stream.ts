/**
 * The reader of the server's event streams.
 *
 * The server sends a sign of life every 15 s: a stream that is silent for longer counts as broken, which a browser's
 * EventSource would not notice.
 */
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { get } from '../api/client';

const SILENT_MS = 40_000;
const RETRY_MS = 3000;
/** Time after which nobody looks at a page that is hidden, in ms. */
const UNSEEN_MS = 30_000;

export interface Reading {
  /** Ends the stream. */
  signal: AbortSignal;
  headers?: Record<string, string>;
  /** Called when the server has answered, before the first event; `signal` ends with this one stream. */
  opened?: (signal: AbortSignal) => void | Promise<void>;
  told: (message: EventSourceMessage) => void;
}

/** Reads the stream at a path below /api/v1 to its end. Raises ApiProblem, and what fetch raises when it breaks. */
export async function readEvents(path: string, { signal, headers = {}, opened, told }: Reading): Promise<void> {
  const own = new AbortController();
  const end = () => own.abort();
  signal.addEventListener('abort', end);
  let timer = setTimeout(end, SILENT_MS);
  try {
    const response = await get(path, { cache: 'no-store', signal: own.signal, headers });
    if (!response.body) return;
    await opened?.(own.signal);
    const parser = createParser({ onEvent: told });
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
    signal.removeEventListener('abort', end);
    own.abort();
  }
}

/** Waits before a broken stream is opened again: a moment, or until the browser is on line again or `signal` ends. */
export function beforeRetry(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener('online', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, RETRY_MS);
    window.addEventListener('online', done);
    signal.addEventListener('abort', done);
  });
}

/**
 * Reads streams one after the other until `signal` ends. A page that is hidden has none after a while: a browser opens six
 * connections to a server at most, and six tabs with a stream each would leave none for anything else. `kept` tells when a
 * hidden page keeps its stream; a device's trace is not read by this, as it records what happens while nobody looks. `broken`
 * is called when one ended otherwise.
 */
export async function keepReading(read: (signal: AbortSignal) => Promise<void>, signal: AbortSignal, broken: (error: unknown) => void, kept = () => false): Promise<void> {
  while (!signal.aborted) {
    const own = new AbortController();
    const end = () => own.abort();
    signal.addEventListener('abort', end);
    const stop = whenUnseen(() => !kept() && end());
    let failed: unknown = null;
    try {
      await read(own.signal);
    } catch (error) {
      failed = error;
    } finally {
      stop();
      signal.removeEventListener('abort', end);
    }
    if (signal.aborted) return;
    if (own.signal.aborted) await untilSeen(signal);
    else {
      broken(failed);
      await beforeRetry(signal);
    }
  }
}

const isSeen = () => document.visibilityState === 'visible';

/** Calls `then` when the page was hidden for UNSEEN_MS, until the returned function is called. */
function whenUnseen(then: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const changed = () => {
    clearTimeout(timer);
    timer = isSeen() ? undefined : setTimeout(then, UNSEEN_MS);
  };
  changed();
  document.addEventListener('visibilitychange', changed);
  return () => {
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', changed);
  };
}

/** Resolves when the page is seen, or `signal` ends. */
function untilSeen(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      if (!isSeen() && !signal.aborted) return;
      document.removeEventListener('visibilitychange', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    document.addEventListener('visibilitychange', done);
    signal.addEventListener('abort', done);
    done();
  });
}
