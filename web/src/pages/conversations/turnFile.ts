/**
 * A turn's file, which anybody may have written: everything in it is checked, by kind and by size, before any of it is
 * shown, and what is not known is left out.
 */
import type { Api } from '~/api';

/** A turn as it is shown: of this server, or from a file. */
export type ShownTurn = Omit<Api<'Turn'>, 'conversation' | 'audio'>;
export type RecordedSide = 'user' | 'assistant';

export interface TurnFile {
  turn: ShownTurn;
  savedAt: string | null;
  serverVersion: string;
  audio: Partial<Record<RecordedSide, ArrayBuffer>>;
}

/** Why a file can't be opened; the page has a sentence for each. `where` names the part that is wrong. */
export type Wrong = 'too-large' | 'not-json' | 'not-a-turn' | 'newer' | 'damaged';
export class WrongFile extends Error {
  constructor(
    readonly wrong: Wrong,
    readonly where = '',
  ) {
    super(wrong);
  }
}

export const FORMAT = 'mimi_mqtt turn';
export const VERSION = 1;
/** Two sides of sound in base64, and the texts. */
export const MAX_FILE_BYTES = 4_000_000;
const MAX_TEXT = 20_000;
const MAX_WORD = 128;
const MAX_ITEMS = 64;
const MAX_MS = 3_600_000;
const MAX_AUDIO_CHARS = 1_500_000;
const MAX_COUNT = 1e12;

type Json = Record<string, unknown>;

function bad(where: string): never {
  throw new WrongFile('damaged', where);
}

function object(value: unknown, where: string): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : bad(where);
}

function text(value: unknown, where: string, most: number): string {
  return typeof value === 'string' && value.length <= most ? value : bad(where);
}

function number(value: unknown, where: string, least: number, most: number): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= least && value <= most ? value : bad(where);
}

function list<Item>(value: unknown, where: string, read: (each: unknown, where: string) => Item): Item[] {
  if (!Array.isArray(value) || value.length > MAX_ITEMS) return bad(where);
  return value.map((each, at) => read(each, `${where}[${at}]`));
}

/** A map without a prototype, so that no name in a file means anything else. */
function map<Value>(value: unknown, where: string, read: (each: unknown, where: string) => Value): Record<string, Value> {
  const entries = Object.entries(object(value, where));
  if (entries.length > MAX_ITEMS) return bad(where);
  const found = Object.create(null) as Record<string, Value>;
  for (const [name, each] of entries) found[text(name, where, MAX_WORD)] = read(each, `${where}.${name.slice(0, 32)}`);
  return found;
}

function moment(value: unknown, where: string): string {
  const given = text(value, where, 40);
  return /^\d{4}-\d\d-\d\dT/.test(given) && !Number.isNaN(Date.parse(given)) ? given : bad(where);
}

function use(value: unknown, where: string): Api<'Use'> {
  const given = object(value, where);
  const count = (name: string) => (given[name] === undefined ? 0 : number(given[name], `${where}.${name}`, 0, MAX_COUNT));
  return {
    role: text(given.role, `${where}.role`, MAX_WORD),
    name: text(given.name, `${where}.name`, MAX_WORD),
    input_tokens: count('input_tokens'),
    output_tokens: count('output_tokens'),
    input_audio_tokens: count('input_audio_tokens'),
    output_audio_tokens: count('output_audio_tokens'),
    audio_s: count('audio_s'),
    characters: count('characters'),
    cost: given.cost == null ? null : number(given.cost, `${where}.cost`, 0, MAX_COUNT),
  };
}

function span(value: unknown, where: string): Api<'ToolSpan'> {
  const given = object(value, where);
  return {
    name: text(given.name, `${where}.name`, MAX_WORD),
    at_ms: number(given.at_ms, `${where}.at_ms`, -MAX_MS, MAX_MS),
    ms: number(given.ms, `${where}.ms`, 0, MAX_MS),
    failed: given.failed === true,
  };
}

function turn(value: unknown): ShownTurn {
  const given = object(value, 'turn');
  const word = (name: string) => text(given[name] ?? '', `turn.${name}`, MAX_WORD);
  return {
    number: number(given.number, 'turn.number', 0, 2 ** 31),
    kind: word('kind'),
    agent: word('agent'),
    mode: word('mode'),
    started_at: moment(given.started_at, 'turn.started_at'),
    heard: text(given.heard ?? '', 'turn.heard', MAX_TEXT),
    reply: text(given.reply ?? '', 'turn.reply', MAX_TEXT),
    outcome: word('outcome'),
    error: word('error'),
    stages_ms: map(given.stages_ms ?? {}, 'turn.stages_ms', (each, where) => number(each, where, -MAX_MS, MAX_MS)),
    tools: list(given.tools ?? [], 'turn.tools', (each, where) => text(each, where, MAX_WORD)),
    tool_spans: list(given.tool_spans ?? [], 'turn.tool_spans', span),
    providers: map(given.providers ?? {}, 'turn.providers', (each, where) => text(each, where, MAX_WORD)),
    uses: list(given.uses ?? [], 'turn.uses', use),
    cost: given.cost == null ? null : number(given.cost, 'turn.cost', 0, MAX_COUNT),
    heard_s: number(given.heard_s ?? 0, 'turn.heard_s', 0, MAX_MS),
    spoken_s: number(given.spoken_s ?? 0, 'turn.spoken_s', 0, MAX_MS),
  };
}

/** The bytes of a base64 text; null for one that is none. */
export function bytesOf(base64: string): ArrayBuffer | null {
  try {
    const binary = atob(base64);
    const bytes = new Uint8Array(binary.length);
    for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
    return bytes.buffer;
  } catch {
    return null;
  }
}

function sound(value: unknown, where: string): ArrayBuffer {
  const data = text(object(value, where).data, `${where}.data`, MAX_AUDIO_CHARS);
  const bytes = bytesOf(data);
  if (!bytes || new TextDecoder('latin1').decode(bytes.slice(0, 4)) !== 'OggS') return bad(where);
  return bytes;
}

/** Reads a turn's file. Raises WrongFile. */
export function readTurnFile(content: string): TurnFile {
  if (content.length > MAX_FILE_BYTES) throw new WrongFile('too-large');
  let given: Json;
  try {
    given = JSON.parse(content) as Json;
  } catch {
    throw new WrongFile('not-json');
  }
  if (typeof given !== 'object' || given === null || given.format !== FORMAT) throw new WrongFile('not-a-turn');
  if (typeof given.version !== 'number' || !Number.isInteger(given.version) || given.version < 1) bad('version');
  if ((given.version as number) > VERSION) throw new WrongFile('newer');
  const audio = object(given.audio ?? {}, 'audio');
  const sides: TurnFile['audio'] = {};
  for (const side of ['user', 'assistant'] as const) {
    if (audio[side] !== undefined) sides[side] = sound(audio[side], `audio.${side}`);
  }
  return {
    turn: turn(given.turn),
    savedAt: given.saved_at == null ? null : moment(given.saved_at, 'saved_at'),
    serverVersion: text(given.server_version ?? '', 'server_version', MAX_WORD),
    audio: sides,
  };
}
