/**
 * The language of the page, and its messages in ICU format.
 *
 * Each area of the app (a folder under `pages/`, `shell` and `components`) has a folder `messages` with a file a
 * language. An area's messages are loaded with its first page, in the language of the moment alone.
 */
import { IntlMessageFormat } from 'intl-messageformat';

export const languages = {
  en: 'English',
  vi: 'Tiếng Việt',
  zh: '中文',
  ja: '日本語',
  ru: 'Русский',
} as const;

export type Language = keyof typeof languages;
type Catalog = Record<string, string>;
/** Values of a message's placeholders. */
export type Values = Record<string, string | number | boolean | Date | null | undefined>;

const STORED = 'language';
const files = import.meta.glob<Catalog>(['../pages/*/messages/*.json', '../shell/messages/*.json', '../components/messages/*.json'], {
  import: 'default',
});

const state = $state<{ language: Language; catalogs: Record<string, Catalog> }>({ language: 'en', catalogs: {} });
const loaded = new Set<string>();
const compiled = new Map<string, IntlMessageFormat>();

/** The language of the moment; reactive. */
export function language(): Language {
  return state.language;
}

/** The tag by which numbers and times are written: the browser's own variant of the language where it has one. */
export function locale(): string {
  return navigator.languages.find((tag) => tag.split('-')[0] === state.language) ?? state.language;
}

/** The path of an area's file; undefined for an area without messages. */
function fileOf(area: string, code: Language): (() => Promise<Catalog>) | undefined {
  return files[`../pages/${area}/messages/${code}.json`] ?? files[`../${area}/messages/${code}.json`];
}

async function fetched(area: string, code: Language): Promise<Catalog> {
  return (await fileOf(area, code)?.()) ?? {};
}

/** Loads the messages of an area, once in each language. */
export async function loadMessages(area: string): Promise<void> {
  if (loaded.has(area) || fileOf(area, 'en') === undefined) return;
  const code = state.language;
  const found = await fetched(area, code);
  if (code !== state.language) return loadMessages(area);
  state.catalogs[area] = found;
  loaded.add(area);
}

function isLanguage(code: string | null | undefined): code is Language {
  return code != null && Object.hasOwn(languages, code);
}

/** The first of the browser's languages that there is. */
function preferred(): Language {
  const stored = localStorage.getItem(STORED);
  if (isLanguage(stored)) return stored;
  for (const tag of navigator.languages) {
    const code = tag.split('-')[0];
    if (isLanguage(code)) return code;
  }
  return 'en';
}

/** Chooses the language of this browser, and loads what every page needs. */
export async function startLanguage(): Promise<void> {
  state.language = preferred();
  document.documentElement.lang = state.language;
  await Promise.all([loadMessages('shell'), loadMessages('components')]);
}

/** Changes the language of the page, and of this browser from now on. */
export async function setLanguage(code: Language): Promise<void> {
  const areas = [...loaded];
  const catalogs = await Promise.all(areas.map((area) => fetched(area, code)));
  areas.forEach((area, at) => (state.catalogs[area] = catalogs[at]!));
  compiled.clear();
  state.language = code;
  document.documentElement.lang = code;
  localStorage.setItem(STORED, code);
}

/**
 * The messages of an area: a function of a key and the values of its placeholders. In a component:
 *
 *     const t = messages<typeof import('./messages/en.json')>('devices');
 *     {t('online', { count })}
 */
export function messages<Module>(area: string): (key: Extract<Exclude<keyof Module, 'default'>, string>, values?: Values) => string {
  return (key, values) => {
    const text = state.catalogs[area]?.[key];
    if (text === undefined) return `${area}.${key}`;
    if (!text.includes('{') && !text.includes("'")) return text;
    const id = `${area}\n${key}`;
    let message = compiled.get(id);
    if (message === undefined || message.resolvedOptions().locale !== state.language) {
      message = new IntlMessageFormat(text, state.language, undefined, { ignoreTag: true });
      compiled.set(id, message);
    }
    return String(message.format(values));
  };
}
