/** The names of what the audit tells of. The server may know further ones, which are shown as they are. */
import type en from './messages/en.json';

type Key = keyof typeof en;

export const KINDS = [
  'user', 'group', 'session', 'key', 'passkey', 'device', 'activation', 'listed_device', 'device_key', 'agent', 'provider', 'price', 'conversation',
  'upload', 'reminder', 'firmware', 'rollout', 'assets', 'backup', 'settings', 'server', 'model', 'turn',
] as const;

const VERBS = [
  'create', 'add', 'change', 'remove', 'delete', 'delete_many', 'begin', 'revoke', 'link', 'link_identity', 'unlink_identity', 'password', 'profile',
  'leave', 'register', 'transfer', 'share', 'forget', 'agent', 'fallback', 'show_code', 'refuse', 'import', 'restore', 'roll_back', 'hand_over', 'start',
  'download', 'check', 'reload', 'copied', 'claim', 'rotate', 'disable', 'enable', 'batch', 'install', 'set_secret', 'join',
  'allow', 'prove', 'cancel', 'end', 'halt', 'pause', 'resume', 'withdraw', 'replay',
] as const;

const kinds = new Set<string>(KINDS);
const verbs = new Set<string>(VERBS);

/** The key of a kind's word; null for one that there is no word for. */
export function kindKey(kind: string): Key | null {
  return kinds.has(kind) ? (`kind-${kind}` as Key) : null;
}

/** The keys of an action's words; null for one that there are no words for. */
export function actionKeys(action: string): { kind: Key; verb: Key } | null {
  const at = action.indexOf('.');
  const kind = kindKey(action.slice(0, at));
  // Of a group, members are added.
  const verb = action === 'group.add' ? 'join' : action.slice(at + 1);
  return kind && verbs.has(verb) ? { kind, verb: `verb-${verb}` as Key } : null;
}

/** A value as people read it, one line for each part of a list. */
function lines(value: unknown): string[] {
  if (Array.isArray(value)) return value.length > 0 ? value.flatMap(lines).map((line) => `  ${line}`) : ['[]'];
  if (value !== null && typeof value === 'object') return Object.entries(value).flatMap(([key, inner]) => field(key, inner).map((line) => `  ${line}`));
  return String(value ?? '–').split('\n');
}

function field(key: string, value: unknown): string[] {
  const found = lines(value);
  return found.length === 1 && !found[0]!.startsWith('  ') ? [`${key}: ${found[0]}`] : [`${key}:`, ...found];
}

/** Before and after as a unified diff. */
export function diffOf(before: Record<string, unknown>, after: Record<string, unknown>): string {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return keys
    .flatMap((key) => {
      const was = key in before ? field(key, before[key]) : [];
      const is = key in after ? field(key, after[key]) : [];
      if (JSON.stringify(was) === JSON.stringify(is)) return was.map((line) => ` ${line}`);
      return [...was.map((line) => `-${line}`), ...is.map((line) => `+${line}`)];
    })
    .join('\n');
}
