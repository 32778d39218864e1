import { mount } from 'svelte';
import './styles/tokens.css';
import './styles/base.css';
import App from './App.svelte';
import { loadMessages, startLanguage } from './i18n';
import { loadSession } from './lib/session.svelte';
import { applyTheme } from './lib/theme.svelte';
import { reloads } from './lib/updated';
import { areaOf, preload } from './routes';

applyTheme();

window.addEventListener('vite:preloadError', (event) => {
  if (!reloads(import.meta.url, location.href)) return;
  event.preventDefault();
  location.reload();
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
