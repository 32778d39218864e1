import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Talk } from './talk.svelte';

/** What is asked for, and answered by the test. */
const asked = vi.hoisted(() => ({ microphones: [] as ((found: unknown) => void)[], connections: [] as [(found: unknown) => void, (error: Error) => void][] }));
vi.mock('~/api', () => ({ ApiProblem: class extends Error {}, problemText: String }));
vi.mock('../audio/microphone', () => ({
  canRecord: () => false,
  MicrophoneError: class extends Error {},
  Microphone: { open: () => new Promise((resolve) => asked.microphones.push(resolve)) },
}));
vi.mock('../audio/opus', () => ({
  createEncoder: async () => ({ encode() {}, close() {} }),
  createDecoder: async () => ({ decode() {}, reset() {}, flush: async () => {}, close() {} }),
}));
vi.mock('../audio/player', () => ({ Player: class { resume() {} stop() {} close() {} } }));
vi.mock('./feed', () => ({ follow: () => ({ begun: Promise.resolve(), stop() {} }) }));
vi.mock('./photo', () => ({ postPhoto: vi.fn() }));
vi.mock('./socket', () => ({
  access: async () => ({ device_id: 'd' }),
  connect: () => new Promise((resolve, reject) => asked.connections.push([resolve, reject])),
}));

const settled = () => vi.advanceTimersByTimeAsync(0);
const microphone = () => ({ close: vi.fn(), level: () => 0 });
const connection = () => ({ socket: { readyState: 1, send: vi.fn(), close: vi.fn() }, session: 's' });
let talk: Talk;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('localStorage', { getItem: () => null, setItem() {} });
  asked.microphones.length = asked.connections.length = 0;
  talk = new Talk(() => 'browser', () => 'en');
});
afterEach(() => {
  talk.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it('closes a microphone that is allowed after the conversation was ended', async () => {
  void talk.start();
  await settled();
  talk.end();
  const late = microphone();
  asked.microphones[0]!(late);
  await settled();
  expect([late.close.mock.calls.length, talk.recording, talk.phase]).toEqual([1, false, 'off']);
});

it('asks for one microphone while the question stands', async () => {
  void talk.start();
  await settled();
  void talk.start();
  await settled();
  expect(asked.microphones).toHaveLength(1);
});

it('keeps the microphone of the conversation that was begun last', async () => {
  void talk.start();
  await settled();
  talk.end();
  void talk.start();
  await settled();
  const [first, second] = [microphone(), microphone()];
  asked.microphones[0]!(first);
  asked.microphones[1]!(second);
  asked.connections.at(-1)![0](connection());
  await settled();
  expect([first.close.mock.calls.length, second.close.mock.calls.length, talk.phase]).toEqual([1, 0, 'listening']);
});

it('connects anew when it is begun again before the next attempt of a conversation that was ended', async () => {
  void talk.start();
  await settled();
  asked.microphones[0]!(microphone());
  asked.connections[0]![1](new Error('away'));
  await settled();
  talk.end();
  void talk.start();
  await settled();
  asked.microphones[1]!(microphone());
  asked.connections[1]![0](connection());
  await settled();
  expect([talk.phase, talk.recording]).toEqual(['listening', true]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect([talk.phase, asked.connections.length]).toEqual(['listening', 2]);
});

it('ends the turn with the conversation, and with the connection', async () => {
  const turn = { session: 's', number: 1, stages: {}, tools: [], since: 0, sinceThere: 0, over: false, outcome: '', providers: {} };
  void talk.start();
  await settled();
  const { socket, session } = connection();
  asked.connections[0]![0]({ socket, session });
  await settled();
  talk.turn = turn;
  (socket as unknown as WebSocket).onclose!({ code: 1006 } as CloseEvent);
  expect(talk.turn?.over).toBe(true);
  talk.turn = turn;
  talk.end();
  expect(talk.turn?.over).toBe(true);
});

it('listens in the mode that was chosen while the server was away, and not before it is back', async () => {
  talk.mode = 'manual';
  void talk.start();
  await settled();
  asked.microphones[0]!(microphone());
  const { socket, session } = connection();
  asked.connections[0]![0]({ socket, session });
  await settled();
  (socket as unknown as WebSocket).onclose!({ code: 1006 } as CloseEvent);
  await settled();
  asked.connections[1]![1](new Error('away'));
  await settled();
  talk.setMode('auto');
  expect([talk.phase, talk.trouble]).toEqual(['connecting', 'server-lost']);
  await vi.advanceTimersByTimeAsync(300);
  const back = connection();
  asked.connections[2]![0](back);
  await settled();
  expect([talk.phase, talk.trouble]).toEqual(['listening', null]);
  expect(back.socket.send.mock.calls.map(([text]) => JSON.parse(String(text)))).toEqual([expect.objectContaining({ type: 'listen', state: 'start', mode: 'auto' })]);
});
