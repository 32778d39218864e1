/** Why a session ended, in words; what has none of its own stays as the server wrote it. */
import { messages } from '~/i18n';

const t = messages<typeof import('./messages/en.json')>('devices');
const KNOWN = ['goodbye', 'disconnected', 'replaced', 'idle', 'shutdown', 'failure'] as const;

export function endText(reason: string | null | undefined): string {
  const known = KNOWN.find((each) => each === reason);
  return known ? t(`ended-${known}`) : reason || '–';
}
