export { language, languages, loadMessages, locale, messages, setLanguage, startLanguage } from './language.svelte';
export type { Language } from './language.svelte';
export * as format from './format';
