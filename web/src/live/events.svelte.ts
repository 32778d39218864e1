/**
 * The event stream: what happens on the server, as it happens.
 *
 * One stream for the whole page. It is opened again by itself when it breaks, and when the page is seen again after a
 * while, from the last event on. After a break, the caller of `startLive` asks for everything that is shown.
 */
import { askAllAgain, queries } from '../api/queries';
import { keepReading, readEvents } from './stream';

/** An event of the stream: its name, its time, and fields of its own. */
export interface LiveEvent {
  event: string;
  at: string;
  device_id?: string;
  session_id?: string;
  [field: string]: unknown;
}

type Listener = (event: LiveEvent) => void;
/** `connecting` for the first time, `live`, or `lost`: what is shown may be old. */
export type LiveStatus = 'connecting' | 'live' | 'lost';

const state = $state<{ status: LiveStatus; since: number }>({ status: 'connecting', since: Date.now() });
const listeners = new Map<Listener, ReadonlySet<string>>();
let running: AbortController | undefined;
let lastId: string | undefined;
let wasLive = false;
let afterBreak: () => void = () => undefined;

/** The state of the stream, and since when (ms since 1970); reactive. */
export function live(): Readonly<{ status: LiveStatus; since: number }> {
  return state;
}

/** Calls `listener` for events of these names (all, when there are none) until the returned function is called. */
export function onEvents(names: readonly string[], listener: Listener): () => void {
  listeners.set(listener, new Set(names));
  return () => listeners.delete(listener);
}

/** Many events at once are one reason to ask, and no reason to ask more often than it can be read; in ms. */
const SOON_MS = 250;
const GAP_MS = 2000;

/** True while a further page is asked for, which asking for all pages again would end. */
function isPaging(queryKey: readonly unknown[]): boolean {
  return queries.getQueryCache().findAll({ queryKey, fetchStatus: 'fetching' }).some(({ state: { fetchMeta } }) => fetchMeta?.fetchMore !== undefined);
}

/**
 * Asks the queries whose key begins with one of `keys` again soon after one of these events, and then not before a gap. For
 * `$effect`.
 */
export function refreshOn(names: readonly string[], ...keys: readonly unknown[][]): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0;
  const ask = () => {
    if (keys.some(isPaging)) return void (timer = setTimeout(ask, SOON_MS));
    timer = undefined;
    last = Date.now();
    for (const queryKey of keys) void queries.invalidateQueries({ queryKey });
  };
  const stop = onEvents(names, () => (timer ??= setTimeout(ask, Math.max(SOON_MS, last + GAP_MS - Date.now()))));
  return () => {
    stop();
    clearTimeout(timer);
  };
}

function become(status: LiveStatus): void {
  if (state.status !== status) Object.assign(state, { status, since: Date.now() });
}

function deliver(event: LiveEvent): void {
  if (event.event === 'missed') {
    void askAllAgain();
    return;
  }
  for (const [listener, names] of listeners) {
    if (names.size === 0 || names.has(event.event)) listener(event);
  }
}

/**
 * Opens the stream; it stays open, or is opened again, until `stopLive`. `again` is called whenever it is live again: what
 * happened meanwhile was not told here.
 */
export function startLive(again: () => void): void {
  if (running) return;
  afterBreak = again;
  running = new AbortController();
  void keepReading(readOnce, running.signal, () => become('lost'));
}

/** Ends the stream. */
export function stopLive(): void {
  running?.abort();
  running = undefined;
  lastId = undefined;
  wasLive = false;
  become('connecting');
}

function readOnce(signal: AbortSignal): Promise<void> {
  // A page that was hidden has no stream until this one is opened.
  if (state.status === 'live') become('lost');
  return readEvents('/events', {
    signal,
    headers: lastId === undefined ? {} : { 'Last-Event-ID': lastId },
    opened() {
      become('live');
      if (wasLive) afterBreak();
      wasLive = true;
    },
    told(message) {
      if (message.id !== undefined) lastId = message.id;
      deliver(JSON.parse(message.data) as LiveEvent);
    },
  });
}
