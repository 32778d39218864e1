/** What a person can choose as his language and time zone. */
import { format, language, languages } from '~/i18n';

const FURTHER = ['de', 'fr', 'es', 'it', 'pt', 'nl', 'pl', 'uk', 'tr', 'ko', 'th', 'id', 'hi', 'ar'];

interface Option {
  value: string;
  label: string;
}

/** Languages by their own names, and `present` where it is another one. */
export function languageOptions(none: string, present: string): Option[] {
  const app = Object.entries(languages).map(([value, label]) => ({ value: value as string, label: label as string }));
  const further = FURTHER.map((value) => ({ value, label: format.languageName(value) })).sort((a, b) => a.label.localeCompare(b.label, language()));
  const all = [...app, ...further];
  if (present && !all.some((each) => each.value === present)) all.push({ value: present, label: format.languageName(present) });
  return [{ value: '', label: none }, ...all];
}

/** Time zones, and `present` where this browser does not know it. */
export function zoneOptions(none: string, present: string): Option[] {
  const zones = Intl.supportedValuesOf('timeZone');
  if (present && !zones.includes(present)) zones.push(present);
  return [{ value: '', label: none }, ...zones.map((zone) => ({ value: zone, label: zone.replaceAll('_', ' ') }))];
}
