/** The settings of an agent as a form has them, and what of them was changed. */
import { SvelteSet } from 'svelte/reactivity';
import type { Api } from '~/api';

export type ByLanguage<Value> = Record<string, Value>;

export interface AgentForm {
  name: string;
  prompt: string;
  /** Empty: the language of the person who talks. */
  language: string;
  voice: string | ByLanguage<string>;
  /** Null while the field is empty: as usual. */
  speed: number | null | ByLanguage<number>;
  greeting: string;
  wake_word: 'greet' | 'answer' | 'listen';
  stt: string[];
  llm: string[];
  vision: string[];
  tts: string[];
  /** Empty: as set for the server; `off`: none. */
  s2s: string;
  tools: string[];
  recordings: boolean;
  end_silence_ms: number | null;
}

export type Field = keyof AgentForm;
export const FIELDS = [
  'name', 'prompt', 'language', 'voice', 'speed', 'greeting', 'wake_word', 'stt', 'llm', 'vision', 'tts', 's2s', 'tools', 'recordings', 'end_silence_ms',
] as const satisfies readonly Field[];

type Settings = Api<'AgentOut'>['settings'];

const listed = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : typeof value === 'string' && value !== '' ? [value] : []);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** The form of an agent's settings. */
export function formOf(settings: Settings): AgentForm {
  const { voice, speed, wake_word: wake } = settings;
  return {
    name: text(settings.name),
    prompt: text(settings.prompt),
    language: text(settings.language),
    voice: typeof voice === 'object' && voice !== null ? ({ ...voice } as ByLanguage<string>) : text(voice),
    speed: typeof speed === 'object' && speed !== null ? ({ ...speed } as ByLanguage<number>) : typeof speed === 'number' ? speed : USUAL_SPEED,
    greeting: text(settings.greeting),
    wake_word: wake === 'answer' || wake === 'listen' ? wake : 'greet',
    stt: listed(settings.stt),
    llm: listed(settings.llm),
    vision: listed(settings.vision),
    tts: listed(settings.tts),
    s2s: settings.s2s === false ? 'off' : text(settings.s2s),
    tools: listed(settings.tools),
    recordings: settings.recordings === true,
    end_silence_ms: typeof settings.end_silence_ms === 'number' ? settings.end_silence_ms : null,
  };
}

const USUAL_SPEED = 1;

/** A field as the API takes it, where null is not a value but takes the field back. */
function sent(form: AgentForm, field: Field): unknown {
  if (field === 's2s' && form.s2s === 'off') return false;
  return field === 'speed' ? (form.speed ?? USUAL_SPEED) : form[field];
}

const differs = (one: AgentForm, other: AgentForm, field: Field): boolean => !same(sent(one, field), sent(other, field));

/** True when two values of a field are the same. */
export function same(one: unknown, other: unknown): boolean {
  const sorted = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
}

interface Sent {
  values: AgentForm;
  back: ReadonlySet<Field>;
}

/** What the person is changing of an agent that was loaded. */
export class Draft {
  /** As it was loaded. */
  loaded = $state.raw<AgentForm>(formOf({}));
  values = $state<AgentForm>(formOf({}));
  /** Fields that are to be as those of the default agent again. */
  readonly back = new SvelteSet<Field>();
  readonly changed = $derived(FIELDS.filter((field) => this.back.has(field) || differs(this.values, this.loaded, field)));

  constructor(settings: Settings) {
    this.load(settings);
  }

  /** Begins again with these settings. */
  load(settings: Settings): void {
    this.loaded = formOf(settings);
    this.values = formOf(settings);
    this.back.clear();
  }

  /** A change that is about to be sent; `settle` takes it. */
  sending(): Sent {
    return { values: $state.snapshot(this.values) as AgentForm, back: new Set(this.back) };
  }

  /** Begins again with what was saved; what was typed since it was sent stays on top. */
  settle(settings: Settings, sent: Sent): void {
    const now = this.sending();
    const typed = FIELDS.filter((field) => !same(now.values[field], sent.values[field]));
    this.load(settings);
    this.values = { ...formOf(settings), ...Object.fromEntries(typed.map((field) => [field, now.values[field]])) };
    for (const field of now.back) if (!sent.back.has(field)) this.back.add(field);
  }

  /** The body of the change. */
  body(): Record<string, unknown> {
    return Object.fromEntries(this.changed.map((field) => [field, this.back.has(field) ? null : sent(this.values, field)]));
  }

  /** The fields that someone else changed meanwhile, with whether this person did so, too, and otherwise. */
  conflicts(theirs: Settings): { field: Field; both: boolean; theirs: unknown }[] {
    const now = formOf(theirs);
    return FIELDS.filter((field) => !same(now[field], this.loaded[field])).map((field) => ({
      field,
      both: this.changed.includes(field) && differs(now, this.values, field),
      theirs: now[field],
    }));
  }

  /** Takes over what someone else saved, but for this person's own changes that are not in `give`. */
  rebase(theirs: Settings, give: ReadonlySet<Field>): void {
    const mine = this.changed.filter((field) => !give.has(field));
    const kept = $state.snapshot(this.values) as AgentForm;
    const back = mine.filter((field) => this.back.has(field));
    this.load(theirs);
    this.values = { ...formOf(theirs), ...Object.fromEntries(mine.map((field) => [field, kept[field]])) };
    for (const field of back) this.back.add(field);
  }
}

/**
 * The settings as they were set: what people chose stands here even while it can't be used and something else is in force.
 * `usual` are those of the default agent, for an agent that is not in force at all.
 */
export function settingsOf(agent: Api<'AgentOut'>, usual: Settings = {}): Settings {
  const own = Object.entries(agent.given ?? {}).filter(([field]) => !agent.fixed.includes(field));
  return { ...(Object.keys(agent.settings).length > 0 ? agent.settings : usual), ...Object.fromEntries(own) };
}

/** All that another server, or a second agent here, needs to have the same one. */
export function contentOf(agent: Api<'AgentOut'>): Record<string, unknown> {
  const content = agent.source === 'managed' && agent.given !== null ? agent.given : settingsOf(agent);
  return Object.fromEntries(Object.entries(content).filter(([, value]) => value !== null));
}
