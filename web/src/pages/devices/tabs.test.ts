import { expect, it } from 'vitest';
import { tabOf, tabsFor } from './tabs';

it('shows the tab of the address to those who may see it, and the overview to others', () => {
  const all = tabsFor(() => true);
  const few = tabsFor((scope) => scope === 'commands');
  expect(few).toEqual(['overview', 'control', 'tools', 'log']);
  expect([tabOf(all, 'trace'), tabOf(few, 'trace'), tabOf(few, 'tools'), tabOf(all, 'nonsense'), tabOf(all, null)]).toEqual(['trace', 'overview', 'tools', 'overview', 'overview']);
});
