/** The navigation: its groups, and who sees which entry. */
import Activity from '@lucide/svelte/icons/activity';
import AlarmClock from '@lucide/svelte/icons/alarm-clock';
import Archive from '@lucide/svelte/icons/archive';
import Bot from '@lucide/svelte/icons/bot';
import ChartColumn from '@lucide/svelte/icons/chart-column';
import Coins from '@lucide/svelte/icons/coins';
import Cpu from '@lucide/svelte/icons/cpu';
import History from '@lucide/svelte/icons/history';
import House from '@lucide/svelte/icons/house';
import Images from '@lucide/svelte/icons/images';
import Info from '@lucide/svelte/icons/info';
import KeyRound from '@lucide/svelte/icons/key-round';
import ListChecks from '@lucide/svelte/icons/list-checks';
import MessagesSquare from '@lucide/svelte/icons/messages-square';
import Mic from '@lucide/svelte/icons/mic';
import Palette from '@lucide/svelte/icons/palette';
import Plug from '@lucide/svelte/icons/plug';
import ScrollText from '@lucide/svelte/icons/scroll-text';
import Settings from '@lucide/svelte/icons/settings';
import Smartphone from '@lucide/svelte/icons/smartphone';
import User from '@lucide/svelte/icons/user';
import Users from '@lucide/svelte/icons/users';
import type { Component } from 'svelte';
import type { Scope } from '../lib/session.svelte';
import type en from './messages/en.json';

export interface Entry {
  href: string;
  label: keyof typeof en;
  icon: Component<{ size?: number; 'aria-hidden'?: 'true' }>;
  /** What the person must be allowed to do. */
  scope?: Scope;
  admin?: boolean;
  /** Further areas whose pages belong to it. */
  areas?: readonly string[];
}

export interface Group {
  label?: keyof typeof en;
  entries: readonly Entry[];
}

/** Later parts (tools, memory, house) have their places in the second group. */
export const navigation: readonly Group[] = [
  {
    entries: [
      { href: '/', label: 'home', icon: House },
      { href: '/talk', label: 'talk', icon: Mic, scope: 'commands' },
      { href: '/devices', label: 'devices', icon: Smartphone, scope: 'devices:read' },
      { href: '/conversations', label: 'conversations', icon: MessagesSquare, scope: 'conversations:read' },
      { href: '/reminders', label: 'reminders', icon: AlarmClock, scope: 'reminders' },
    ],
  },
  {
    label: 'assistant',
    entries: [
      { href: '/agents', label: 'agents', icon: Bot, scope: 'agents:read' },
      { href: '/providers', label: 'providers', icon: Plug, scope: 'providers:read' },
      { href: '/prices', label: 'prices', icon: Coins, scope: 'providers:read' },
    ],
  },
  {
    label: 'fleet',
    entries: [
      { href: '/firmware', label: 'firmware', icon: Cpu, scope: 'firmware', areas: ['rollouts'] },
      { href: '/assets', label: 'assets', icon: Palette, scope: 'firmware' },
      { href: '/uploads', label: 'uploads', icon: Images, scope: 'files:read' },
    ],
  },
  {
    label: 'people',
    entries: [
      { href: '/users', label: 'users', icon: User, scope: 'people' },
      { href: '/groups', label: 'groups', icon: Users },
      { href: '/keys', label: 'keys', icon: KeyRound },
      { href: '/audit', label: 'audit', icon: History, scope: 'audit' },
    ],
  },
  {
    label: 'server',
    entries: [
      { href: '/setup', label: 'setup', icon: ListChecks, admin: true },
      { href: '/statistics', label: 'statistics', icon: ChartColumn, scope: 'statistics' },
      { href: '/settings', label: 'settings', icon: Settings, scope: 'settings:read' },
      { href: '/backups', label: 'backups', icon: Archive, scope: 'settings:write' },
      { href: '/diagnostics', label: 'diagnostics', icon: Activity, scope: 'health' },
      { href: '/logs', label: 'logs', icon: ScrollText, admin: true },
      { href: '/about', label: 'about', icon: Info },
    ],
  },
];
