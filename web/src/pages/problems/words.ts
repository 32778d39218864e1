/** A problem in the page's language: its kind and values in words of our own, the server's English for what is new. */
import type { Api } from '~/api';
import { format } from '~/i18n';
import type en from './messages/en.json';

type Key = keyof typeof en;
type Translate = (key: Key, values?: Record<string, string | number>) => string;

/** Values that are moments, sizes, or words of their own. */
function shown(t: Translate, name: string, value: string | number): string | number {
  if (['at', 'shown', 'seen'].includes(name)) return format.dateTime(String(value));
  if (name === 'free_bytes') return format.bytes(Number(value));
  if (name === 'wanted' || name === 'used' || name === 'rollout') return String(value);
  if (name === 'role') return worded(t, `role-${value}`, String(value));
  if (name === 'error') return worded(t, `error-${value}`, String(value));
  // Sentences of the server stand alone here.
  if (name === 'detail' || name === 'told') return /[.!?]$/.test(String(value)) ? value : `${value}.`;
  return value;
}

function worded(t: Translate, key: string, otherwise: string): string {
  const found = t(key as Key);
  return found === `problems.${key}` ? otherwise : found;
}

/** Its cause and its cure. */
export function told(t: Translate, problem: Api<'ProblemView'>): { cause: string; cure: string } {
  const values: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(problem.values)) {
    if (value !== null) values[name === 'free_bytes' ? 'free' : name] = shown(t, name, value);
  }
  let key = problem.kind;
  if (key === 'firmware_stuck') key = `firmware_stuck-${values.progress}`;
  if (key === 'backup_old' && values.at === undefined) key = 'backup_never';
  try {
    const cause = t(key as Key, values);
    const cure = t(`${problem.kind}-cure` as Key, values);
    if (cause !== `problems.${key}` && cure !== `problems.${problem.kind}-cure`) return { cause, cure };
  } catch {
    // A value that this page expects is not there: the server is another version.
  }
  return { cause: problem.cause, cure: problem.cure };
}
