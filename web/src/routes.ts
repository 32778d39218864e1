/** The addresses of the app, and the page of each. A page's area, its folder, is the first part of its address. */
import { blockNavigation, createRouter } from 'sv-router';
import { loadMessages } from './i18n';
import { scrollHooks } from './lib/scroll';

/** The area that an address belongs to. */
export function areaOf(pathname: string): string {
  return pathname.split('/')[1] || 'home';
}

const scroll = scrollHooks(window);

export const { p, navigate, isActive, preload, route } = createRouter({
  '/': () => import('./pages/home/Home.svelte'),
  '/setup': () => import('./pages/setup/FirstRun.svelte'),
  '/talk': () => import('./pages/talk/Talk.svelte'),
  '/devices': {
    '/': () => import('./pages/devices/Devices.svelte'),
    '/:id': () => import('./pages/devices/Device.svelte'),
  },
  '/conversations': {
    '/': () => import('./pages/conversations/Conversations.svelte'),
    '/file': () => import('./pages/conversations/TurnFile.svelte'),
    '/:id': () => import('./pages/conversations/Conversation.svelte'),
  },
  '/reminders': () => import('./pages/reminders/Reminders.svelte'),
  '/agents': {
    '/': () => import('./pages/agents/Agents.svelte'),
    '/:key': () => import('./pages/agents/Agent.svelte'),
  },
  '/providers': {
    '/': () => import('./pages/providers/Providers.svelte'),
    '/:name': () => import('./pages/providers/Provider.svelte'),
  },
  '/prices': () => import('./pages/prices/Prices.svelte'),
  '/firmware': {
    '/': () => import('./pages/firmware/FirmwareList.svelte'),
    '/:id': () => import('./pages/firmware/Firmware.svelte'),
  },
  '/rollouts/:id': async () => {
    await loadMessages('firmware');
    return import('./pages/rollouts/RollOut.svelte');
  },
  '/assets': () => import('./pages/assets/Assets.svelte'),
  '/uploads': () => import('./pages/uploads/Uploads.svelte'),
  '/users': {
    '/': () => import('./pages/users/Users.svelte'),
    '/:id': () => import('./pages/users/User.svelte'),
  },
  '/groups': () => import('./pages/groups/Groups.svelte'),
  '/keys': () => import('./pages/keys/Keys.svelte'),
  '/audit': () => import('./pages/audit/Audit.svelte'),
  '/account': () => import('./pages/account/Account.svelte'),
  '/settings': () => import('./pages/settings/Settings.svelte'),
  '/backups': () => import('./pages/backups/Backups.svelte'),
  '/statistics': () => import('./pages/statistics/Statistics.svelte'),
  '/logs': () => import('./pages/logs/Logs.svelte'),
  '/diagnostics': () => import('./pages/diagnostics/Diagnostics.svelte'),
  '/about': () => import('./pages/about/About.svelte'),
  '/components': () => import('./pages/components/Components.svelte'),
  '*nowhere': () => import('./pages/nowhere/Nowhere.svelte'),
  hooks: {
    beforeLoad: ({ pathname }) => {
      scroll.beforeLoad();
      return loadMessages(areaOf(pathname));
    },
    afterLoad: scroll.afterLoad,
  },
});

// sv-router follows where in the history it is only while something may block: a form that asks before it is left would
// otherwise send the browser from a place that it left long ago.
blockNavigation(() => true);
