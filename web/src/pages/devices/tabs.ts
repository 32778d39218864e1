/** The tabs of a device's page, which its address names, and who sees which. */
import type { Scope } from '~/lib/session.svelte';

const TABS = ['overview', 'control', 'tools', 'trace', 'log', 'settings'] as const;
const NEEDS: Partial<Record<Tab, Scope>> = { control: 'commands', tools: 'commands', trace: 'events', settings: 'devices:write' };

export type Tab = (typeof TABS)[number];

/** Those that a person sees who may do what `may` tells. */
export function tabsFor(may: (scope: Scope) => boolean): Tab[] {
  return TABS.filter((tab) => NEEDS[tab] === undefined || may(NEEDS[tab]));
}

/** The one that an address names, if it is among `tabs`. */
export function tabOf(tabs: readonly Tab[], wanted: string | null): Tab {
  return tabs.find((tab) => tab === wanted) ?? 'overview';
}
