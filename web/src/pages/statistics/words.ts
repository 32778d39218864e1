/** Words and numbers of the statistics. */
import { format } from '~/i18n';
import type en from './messages/en.json';

type Key = keyof typeof en;

/** An amount of money; the server has no currency. */
export function money(value: number): string {
  return format.number(value, { minimumFractionDigits: 2, maximumFractionDigits: value !== 0 && Math.abs(value) < 0.1 ? 4 : 2 });
}

/** The name of a kind of failure; the server's own for a new one. */
export function kindName(t: (key: Key) => string, kind: string): string {
  const found = t(`kind-${kind}` as Key);
  return found === `statistics.kind-${kind}` ? kind : found;
}
