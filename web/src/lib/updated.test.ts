import { expect, it, vi } from 'vitest';
import { reloads } from './updated';

it('loads the page again once an update', () => {
  const kept = new Map<string, string>();
  vi.stubGlobal('sessionStorage', { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => kept.set(key, value) });
  expect([reloads('index-A.js', '/agents'), reloads('index-A.js', '/agents'), reloads('index-B.js', '/agents'), reloads('index-B.js', '/agents')]).toEqual([true, false, true, false]);
  vi.unstubAllGlobals();
});
