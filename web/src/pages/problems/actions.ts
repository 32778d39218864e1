/** What a person can do about a problem: a request that mends it, or the page where it is mended. */
import type { Api } from '~/api';
import type { Scope } from '~/lib/session.svelte';
import type en from './messages/en.json';

export type Deed = 'test' | 'backup' | 'resume' | 'udp';

export interface Action {
  label: keyof typeof en;
  deed?: Deed;
  href?: string;
}

/** The page of the settings at a key. */
const setting = (key: string) => `/settings?search=${encodeURIComponent(key)}`;

/** The buttons of a problem, for somebody who may do what `may` says. */
export function actionsOf(problem: Api<'ProblemView'>, may: (scope: Scope) => boolean, isAdmin: boolean): Action[] {
  const value = (name: string) => String(problem.values[name] ?? '');
  const found: (Action | false)[] = [];
  switch (problem.kind) {
    case 'provider_failing':
      found.push(may('providers:write') && { label: 'do-test', deed: 'test' });
      found.push(may('providers:read') && { label: 'do-provider', href: `/providers/${encodeURIComponent(value('provider'))}` });
      break;
    case 'no_language_model':
      found.push(may('providers:write') && { label: 'do-setup', href: '/setup' });
      break;
    case 'devices_waiting':
      found.push(may('fleet') && { label: 'do-allow', href: '/devices' });
      break;
    case 'backup_old':
      found.push(may('settings:write') && { label: 'do-backup', deed: 'backup' });
      found.push(may('settings:write') && { label: 'do-backups', href: '/backups' });
      break;
    case 'rollout_halted':
      found.push(may('firmware') && { label: 'do-resume', deed: 'resume' });
      found.push(may('firmware') && { label: 'do-rollout', href: `/rollouts/${value('rollout')}` });
      break;
    case 'rollout_stuck':
      found.push(may('firmware') && { label: 'do-rollout', href: `/rollouts/${value('rollout')}` });
      break;
    case 'firmware_stuck':
      found.push(may('firmware') && { label: 'do-rollout', href: `/rollouts/${value('rollout')}` });
      found.push({ label: 'do-device', href: `/devices/${problem.device_id}` });
      break;
    case 'device_udp_silent':
      found.push(may('devices:write') && { label: 'do-udp', deed: 'udp' });
      break;
    case 'device_refused':
      found.push({ label: 'do-device', href: `/devices/${problem.device_id}` });
      break;
    case 'disk_low':
      found.push(may('settings:read') && { label: 'do-settings', href: setting('store.') });
      break;
    case 'certificate_ending':
    case 'certificate_expired':
      found.push(may('settings:read') && { label: 'do-settings', href: setting(`${value('section')}.tls_certificate`) });
      break;
    case 'port_moved':
      found.push(may('settings:read') && { label: 'do-settings', href: setting(value('key')) });
      break;
    case 'udp_silent':
      found.push(may('settings:read') && { label: 'do-settings', href: setting('udp.') });
      break;
    case 'shares_exceeded':
      found.push(may('settings:read') && { label: 'do-settings', href: setting('shares.') });
      break;
    case 'part_failing':
      if (value('part') === 'backup') {
        found.push(may('settings:write') && { label: 'do-backup', deed: 'backup' });
        found.push(may('settings:write') && { label: 'do-backups', href: '/backups' });
      } else found.push(isAdmin && { label: 'do-log', href: '/logs?level=warning' });
      break;
    case 'database_failing':
    case 'check_failed':
      found.push(isAdmin && { label: 'do-log', href: '/logs?level=warning' });
      break;
  }
  return found.filter((action) => action !== false);
}
