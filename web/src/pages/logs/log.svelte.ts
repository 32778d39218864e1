/** The lines of the log that are shown: the last ones, older ones on request, and new ones as they are written. */
import { api, unwrap, type Api } from '~/api';
import { keepReading, readEvents } from '~/live/stream';

export type Line = Api<'LogLine'>;

export interface Filter {
  level: 'debug' | 'info' | 'warning' | 'error';
  part: string;
  device: string;
  session: string;
  q: string;
}

/** Lines that are kept in the page: who wants older ones asks for them again. */
export const MOST = 2000;
const PAGE = 100;
const NEWEST = '';

export interface Shown {
  lines: Line[];
  /** New lines that wait while the page is paused. */
  waiting: Line[];
  /** From where the server goes on behind the last line: null when it has no more, NEWEST when the place must be found. */
  older: string | null;
  parts: string[];
  level: string;
  status: 'loading' | 'live' | 'lost';
  missed: boolean;
  error: unknown;
}

function queryOf(filter: Filter): Partial<Filter> {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== ''));
}

/** A log that follows the server from `follow` until what that returns is called. */
export class Log {
  shown = $state<Shown>({ lines: [], waiting: [], older: null, parts: [], level: '', status: 'loading', missed: false, error: null });
  paused = $state(false);
  #filter: Filter | null = null;
  /** The last line of each page that was asked for, the newest first, and from where the server goes on behind it. */
  #ends: { number: number; older: string | null }[] = [];

  /** Shows the lines of a filter. */
  follow(filter: Filter): () => void {
    const ended = new AbortController();
    this.#filter = filter;
    Object.assign(this.shown, { lines: [], waiting: [], older: null, status: 'loading', missed: false, error: null });
    // Who reads a paused log finds it as it was.
    void keepReading((signal) => this.#open(filter, signal), ended.signal, (error) => this.#broken(error), () => this.paused);
    return () => ended.abort();
  }

  /** Shows what came meanwhile. */
  resume(): void {
    this.paused = false;
    this.#add(this.shown.waiting);
    this.shown.waiting = [];
  }

  /** Adds the page of older lines. */
  async more(): Promise<void> {
    const filter = this.#filter;
    const last = this.shown.lines.at(-1);
    if (filter === null || last === undefined) return;
    for (let cursor = this.shown.older; cursor !== null; ) {
      const page = await unwrap(api.GET('/logs', { params: { query: { ...queryOf(filter), limit: PAGE, cursor: cursor || undefined } } }));
      // What it follows is not shown any more.
      if (this.#filter !== filter || this.shown.lines.at(-1) !== last) return;
      const items = page.items.filter((line) => line.number < last.number);
      cursor = page.next ?? null;
      if (!items.length && cursor !== null) continue;
      this.shown.lines = [...this.shown.lines, ...items];
      return this.#ended(page);
    }
  }

  #add(lines: readonly Line[]): void {
    if (!lines.length) return;
    const first = this.shown.lines[0]?.number ?? 0;
    const fresh = lines.filter((line) => line.number > first);
    // The newest stand first.
    this.shown.lines = [...fresh.reverse(), ...this.shown.lines];
    if (this.shown.lines.length > MOST) this.#shorten();
  }

  /** Takes the oldest lines away, to the end of a page: what is asked for next follows what is shown. */
  #shorten(): void {
    const kept = this.shown.lines.slice(0, MOST);
    this.#ends = this.#ends.filter((end) => end.number >= kept.at(-1)!.number);
    const end = this.#ends.at(-1);
    this.shown.lines = end ? kept.filter((line) => line.number >= end.number) : kept;
    this.shown.older = end ? end.older : NEWEST;
  }

  #ended(page: { items: readonly Line[]; next?: string | null }): void {
    const number = page.items.at(-1)?.number;
    this.shown.older = page.next ?? null;
    if (number !== undefined) this.#ends.push({ number, older: this.shown.older });
  }

  #arrived(line: Line): void {
    if (!this.shown.parts.includes(line.part)) this.shown.parts = [...this.shown.parts, line.part].sort();
    if (!this.paused) return this.#add([line]);
    if (line.number <= (this.shown.waiting.at(-1) ?? this.shown.lines[0])?.number!) return;
    this.shown.waiting.push(line);
    if (this.shown.waiting.length > MOST) {
      this.shown.waiting.shift();
      this.shown.missed = true;
    }
  }

  #broken(error: unknown): void {
    if (error !== null && this.shown.status === 'loading') this.shown.error = error;
    this.shown.status = this.shown.error ? 'loading' : 'lost';
  }

  /** The stream is opened first, so that no line falls between it and the page of the last lines. */
  #open(filter: Filter, signal: AbortSignal): Promise<void> {
    const search = new URLSearchParams(queryOf(filter) as Record<string, string>);
    return readEvents(`/logs/stream?${search}`, {
      signal,
      opened: async (own) => {
        const page = await unwrap(api.GET('/logs', { params: { query: { ...queryOf(filter), limit: PAGE } }, signal: own }));
        if (signal.aborted) return;
        Object.assign(this.shown, { parts: page.parts, level: page.level, status: 'live', error: null });
        const [first] = this.shown.waiting.length ? this.shown.waiting.slice(-1) : this.shown.lines;
        const known = page.items.findIndex((line) => line.number === first?.number && line.at === first.at);
        // What is shown stays where no line is missing after it.
        if (known >= 0) for (const line of page.items.slice(0, known).reverse()) this.#arrived(line);
        else {
          Object.assign(this.shown, { lines: page.items, waiting: [] });
          this.#ends = [];
          this.#ended(page);
        }
      },
      told: (message) => {
        if (message.event === 'missed') this.shown.missed = true;
        else this.#arrived(JSON.parse(message.data) as Line);
      },
    });
  }
}

/** All kept lines of a filter as text, the oldest first. */
export async function textOf(filter: Filter): Promise<string> {
  const rows: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await unwrap(api.GET('/logs', { params: { query: { ...queryOf(filter), limit: 200, cursor } } }));
    for (const line of page.items) rows.push(written(line));
    cursor = page.next ?? undefined;
  } while (cursor !== undefined);
  return `${rows.reverse().join('\n')}\n`;
}

function written(line: Line): string {
  const ids = { device: line.device_id, session: line.session_id, turn: line.turn, ...line.fields };
  const fields = Object.entries(ids)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
  const head = `${line.at} ${line.level.toUpperCase().padEnd(8)} ${line.part}: ${line.message}`;
  const trace = line.exception ? `\n    ${line.exception.replaceAll('\n', '\n    ')}` : '';
  return `${head}${fields ? `  ${fields}` : ''}${trace}`;
}
