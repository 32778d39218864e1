/** The browser device's connection: its account's device, its WebSocket, and the hello. */
import { api, unwrap, type Api } from '~/api';
import { session } from '~/lib/session.svelte';
import { VERSION } from './frames';
import * as messages from './messages';

/** With the account's id: people who share a browser have a device each. Alone: of the account that talked here before. */
const KEPT = 'talk-device';
const HELLO_MS = 10_000;

export type Access = Api<'BrowserConnection'>;

const place = () => `${KEPT}:${session().me?.id ?? ''}`;

/** The id of the device that this browser was for the account the last time: a name, not a secret. */
export function knownDevice(): string {
  return localStorage.getItem(place()) ?? localStorage.getItem(KEPT) ?? '';
}

/** Makes this browser a device, or finds the one that it was. Raises ApiProblem. */
export async function access(name: string, language: string): Promise<Access> {
  const own = place();
  const found = await unwrap(api.POST('/me/browser-device', { body: { device_id: knownDevice(), name, language } }));
  localStorage.setItem(own, found.device_id);
  // The server gives nobody another account's device: it waits for its account.
  if (found.device_id === localStorage.getItem(KEPT)) localStorage.removeItem(KEPT);
  return found;
}

export interface Connection {
  socket: WebSocket;
  session: string;
}

/** Connects and says hello. Raises Error when that fails. The caller sets the handlers of what follows. */
export function connect(given: Access): Promise<Connection> {
  const url = new URL(given.path, location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.search = new URLSearchParams({ 'device-id': given.device_id, token: given.token, 'protocol-version': String(VERSION) }).toString();
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail('hello was not answered'), HELLO_MS);
    const fail = (reason: string) => {
      clearTimeout(timer);
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      reject(new Error(reason));
    };
    socket.onopen = () => socket.send(JSON.stringify(messages.hello()));
    socket.onclose = (event) => fail(`closed with ${event.code}`);
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      const said = typeof event.data === 'string' ? messages.read(event.data) : null;
      if (said?.type === 'hello' && said.session_id) {
        clearTimeout(timer);
        socket.onopen = socket.onmessage = socket.onclose = null;
        resolve({ socket, session: said.session_id });
      } else if (said?.type === 'alert') fail(said.message ?? '');
    };
  });
}
