import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { queries } from '../api/queries';
import { live, stopLive } from '../live/events.svelte';
import type { Reading } from '../live/stream';
import { loadSession, refreshMe, session } from './session.svelte';

/** What the server answers, and the stream that is open. */
const server = vi.hoisted(() => ({ me: null as object | null, answers: true, signedOut: () => {}, opened: async () => {}, streams: 0 }));
vi.mock('../api/problem', () => ({ ApiProblem: class extends Error {}, problemOf: () => new Error() }));
vi.mock('../api/client', async () => {
  const { ApiProblem } = await import('../api/problem');
  return {
    onSignedOut: (then: () => void) => (server.signedOut = then),
    unwrap: async (answer: Promise<{ data: unknown }>) => (await answer).data,
    api: {
      GET: async (path: string) => {
        if (path !== '/me') return { data: {} };
        if (!server.answers) throw new ApiProblem(0, '');
        if (!server.me) server.signedOut();
        return { data: server.me ?? undefined, response: { status: server.me ? 200 : 401 } };
      },
    },
  };
});
vi.mock('../live/stream', () => ({
  keepReading: (read: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) => {
    server.streams += 1;
    server.opened = async () => void (await read(signal));
  },
  readEvents: async (_: string, { signal, opened }: Reading) => opened?.(signal),
}));

const person = (id: string, groups: string[] = []) => ({ id, name: id, role: 'member', scopes: [], groups: groups.map((name) => ({ id: name, name })) });
const settled = () => new Promise((resolve) => setTimeout(resolve, 0));
const again = vi.spyOn(queries, 'invalidateQueries');

beforeEach(async () => {
  Object.assign(server, { me: person('alice', ['kitchen']), answers: true, streams: 0 });
  await loadSession();
  await server.opened();
  queries.setQueryData(['devices'], 'of Alice');
  again.mockClear();
});
afterEach(() => {
  stopLive();
  queries.clear();
});

it('is somebody else when another tab signed in as them while there was no stream', async () => {
  server.me = person('bob');
  await server.opened();
  await settled();
  expect([session().me?.id, queries.getQueryData(['devices'])]).toEqual(['bob', undefined]);
  expect([server.streams, live().status]).toEqual([2, 'connecting']);
});

it('has the rights and groups of now after a break, then asks for all again', async () => {
  server.me = { ...person('alice', ['garden']), scopes: ['people'] };
  again.mockImplementationOnce(async () => expect(session().me?.scopes).toEqual(['people']));
  await server.opened();
  await settled();
  expect(session().me?.groups.map((each) => each.name)).toEqual(['garden']);
  expect([again.mock.calls.length, queries.getQueryData(['devices']), server.streams]).toEqual([1, 'of Alice', 1]);
});

it('asks for all again after a break though nobody tells whose session it is', async () => {
  server.answers = false;
  await server.opened();
  await settled();
  expect([session().is, session().me?.id, again.mock.calls.length]).toEqual(['signed-in', 'alice', 1]);
});

it('is signed out when the session has ended meanwhile', async () => {
  server.me = null;
  await refreshMe();
  await settled();
  expect([session().is, session().me, queries.getQueryData(['devices'])]).toEqual(['signed-out', null, undefined]);
});
