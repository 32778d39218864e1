import { mount } from 'svelte';
import './styles/tokens.css';
import './styles/base.css';
import App from './App.svelte';
import { loadMessages, messages, startLanguage } from './i18n';
import { leaveClicksToBrowser } from './lib/clicks';
import { loadSession } from './lib/session.svelte';
import { applyTheme } from './lib/theme.svelte';
import { tell } from './lib/toasts.svelte';
import { reloadWhenServed } from './lib/updated';
import { areaOf, preload } from './routes';

applyTheme();
leaveClicksToBrowser(window);

const t = messages<typeof import('./shell/messages/en.json')>('shell');
window.addEventListener('vite:preloadError', () => {
  void reloadWhenServed(import.meta.url, location.href, { away: () => tell(t('no-answer'), 'bad'), reload: () => location.reload() });
});

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  window.addEventListener('load', () => void navigator.serviceWorker.register('/sw.js').catch(() => undefined));
}

// Side by side, as each waits for the network: the language, who is signed in, and the page with its texts.
const language = startLanguage();
void loadSession();
void loadMessages(areaOf(location.pathname));
void preload(location.pathname as '/');
await language;
mount(App, { target: document.getElementById('app')! });
