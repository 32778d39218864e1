import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { access } from './socket';

/** A server as `fleet/browser_devices.py`: an account is given a device that is its own, or a new one. */
const server = vi.hoisted(() => ({ account: '', devices: [] as { id: string; account: string }[] }));
vi.mock('~/lib/session.svelte', () => ({ session: () => ({ me: { id: server.account } }) }));
vi.mock('~/api', () => ({
  unwrap: (answer: unknown) => answer,
  api: {
    POST: async (_: string, { body }: { body: { device_id: string } }) => {
      const { account, devices } = server;
      let found = devices.find((each) => each.id === body.device_id && each.account === account);
      if (!found) devices.push((found = { id: `device-${devices.length}`, account }));
      return { device_id: found.id };
    },
  },
}));

const deviceOf = async (account: string) => {
  server.account = account;
  return (await access('browser', 'en')).device_id;
};

beforeEach(() => {
  const kept = new Map<string, string>();
  vi.stubGlobal('localStorage', { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => kept.set(key, value), removeItem: (key: string) => kept.delete(key) });
  server.devices = [];
});
afterEach(() => vi.unstubAllGlobals());

it('is one device for each account that shares the browser', async () => {
  const [alice, bob] = [await deviceOf('alice'), await deviceOf('bob')];
  expect(alice).not.toBe(bob);
  expect([await deviceOf('alice'), await deviceOf('bob'), server.devices.length]).toEqual([alice, bob, 2]);
});

it('leaves the device that was kept without an account to the account whose it is', async () => {
  server.devices = [{ id: 'before', account: 'alice' }];
  localStorage.setItem('talk-device', 'before');
  expect(await deviceOf('bob')).toBe('device-1');
  expect(await deviceOf('alice')).toBe('before');
  expect(localStorage.getItem('talk-device')).toBeNull();
  expect([await deviceOf('alice'), server.devices.length]).toEqual(['before', 2]);
});
