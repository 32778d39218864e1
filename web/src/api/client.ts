/**
 * The REST API. Its types are generated from the OpenAPI document, so a request that the server would not understand
 * does not compile.
 */
import createClient from 'openapi-fetch';
import type { paths } from '$schema';
import { messages } from '../i18n';
import { ApiProblem, problemOf } from './problem';

const t = messages<typeof import('../shell/messages/en.json')>('shell');
const lost = new Set<() => void>();

/** Calls `then` whenever an answer says that nobody is signed in. */
export function onSignedOut(then: () => void): void {
  lost.add(then);
}

/** Tells that an answer said so. */
export function reportSignedOut(): void {
  for (const then of lost) then();
}

const SIGNING_IN = ['/session', '/session/ways', '/session/passkey', '/session/passkey/options', '/setup', '/setup/password'];

export const api = createClient<paths>({ baseUrl: '/api/v1', credentials: 'same-origin' });

api.use({
  onRequest({ request }) {
    // What is deleted when the page is left would end with the page.
    if (request.method === 'DELETE') return new Request(request, { keepalive: true });
    return undefined;
  },
  onResponse({ response, schemaPath }) {
    if (response.status === 401 && !SIGNING_IN.includes(schemaPath)) reportSignedOut();
  },
  onError({ error }) {
    if (error instanceof DOMException && error.name === 'AbortError') return error;
    return new ApiProblem(0, t('no-answer'));
  },
});

interface Answer<Data> {
  data?: Data;
  error?: unknown;
  response: Response;
}

/** The content of an answer. Raises ApiProblem. */
export async function unwrap<Data>(answer: Promise<Answer<Data>>): Promise<Data> {
  const { data, error, response } = await answer;
  if (!response.ok) throw problemOf(response, error);
  return data as Data;
}

/** The content of a file or page of the API by its path below /api/v1, for what is not JSON. Raises ApiProblem. */
export async function get(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, { credentials: 'same-origin', ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiProblem(0, t('no-answer'));
  }
  if (response.ok) return response;
  if (response.status === 401) reportSignedOut();
  throw problemOf(response, await response.json().catch(() => null));
}
