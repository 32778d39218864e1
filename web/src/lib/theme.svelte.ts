/** Light or dark, by the system or by the person's choice in this browser. */
export type Theme = 'auto' | 'light' | 'dark';
const STORED = 'theme';

function stored(): Theme {
  const found = localStorage.getItem(STORED);
  return found === 'light' || found === 'dark' ? found : 'auto';
}

const state = $state<{ theme: Theme }>({ theme: stored() });

/** The choice; reactive. */
export function theme(): Theme {
  return state.theme;
}

/** Shows the page by the choice. */
export function applyTheme(): void {
  if (state.theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
}

/** Chooses, for this browser from now on. */
export function setTheme(chosen: Theme): void {
  state.theme = chosen;
  localStorage.setItem(STORED, chosen);
  applyTheme();
}
