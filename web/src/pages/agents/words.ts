/** Words for an agent's fields, and the languages that can be chosen. */
import { format, messages } from '~/i18n';
import { FIELDS, type Field } from './form.svelte';

export const t = messages<typeof import('./messages/en.json')>('agents');

/** The name of a field; the field's own for one that this page does not know. */
export function fieldName(field: string): string {
  return (FIELDS as readonly string[]).includes(field) ? t(`field-${field as Field}`) : field;
}

/** Languages that local models or services hear and speak well. */
const LANGUAGES = [
  'ar', 'bg', 'ca', 'cs', 'da', 'de', 'el', 'en', 'en-GB', 'en-US', 'es', 'et', 'fa', 'fi', 'fr', 'he', 'hi', 'hr', 'hu', 'id', 'it', 'ja', 'ko', 'lt', 'lv',
  'ms', 'nl', 'no', 'pl', 'pt', 'pt-BR', 'ro', 'ru', 'sk', 'sl', 'sr', 'sv', 'th', 'tl', 'tr', 'uk', 'ur', 'vi', 'yue', 'zh', 'zh-CN', 'zh-TW',
];

/** The choice of languages by their names, with those in use among them. */
export function languageOptions(...used: string[]): { value: string; label: string }[] {
  const tags = [...new Set([...LANGUAGES, ...used.filter(Boolean)])];
  return tags.map((value) => ({ value, label: format.languageName(value) })).sort((a, b) => a.label.localeCompare(b.label));
}

/** An agent's voice in words. */
export function voiceWords(voice: unknown): string {
  if (typeof voice === 'object' && voice !== null) return format.list(Object.entries(voice).map(([tag, name]) => t('voice-for', { language: format.languageName(tag), voice: voiceWords(name) })));
  if (voice === 'female') return t('female');
  if (voice === 'male') return t('male');
  return typeof voice === 'string' && voice ? voice : t('voice-usual');
}
