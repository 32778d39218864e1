/** Who is signed in, and what they may do. */
import { api, onSignedOut } from '../api/client';
import { queries } from '../api/queries';
import { ApiProblem, problemOf } from '../api/problem';
import { unwrap } from '../api/client';
import { startLive, stopLive } from '../live/events.svelte';
import { commitAll, undoAll } from './toasts.svelte';
import type { components } from '$schema';

export type Me = components['schemas']['Me'];
export type Scope = components['schemas']['Scope'];
export type Ways = components['schemas']['Ways'];

type State = 'loading' | 'signed-in' | 'signed-out' | 'unreachable';
const state = $state<{ is: State; me: Me | null; ways: Ways | null }>({ is: 'loading', me: null, ways: null });

/** The session; reactive. */
export function session(): Readonly<{ is: State; me: Me | null; ways: Ways | null }> {
  return state;
}

/** True when the person may do what the scope names; reactive. */
export function may(scope: Scope): boolean {
  return state.me?.scopes.includes(scope) ?? false;
}

/** True for an administrator; reactive. */
export function isAdmin(): boolean {
  return state.me?.role === 'admin';
}

/** Asks who is signed in. */
export async function loadSession(): Promise<void> {
  try {
    const { data, error, response } = await api.GET('/me');
    if (response.status === 401) return await signedOut();
    if (!data) throw problemOf(response, error);
    Object.assign(state, { is: 'signed-in', me: data, ways: null });
    startLive();
  } catch (error) {
    if (!(error instanceof ApiProblem)) throw error;
    state.is = 'unreachable';
  }
}

async function signedOut(): Promise<void> {
  stopLive();
  undoAll();
  queries.clear();
  const ways = await unwrap(api.GET('/session/ways'));
  Object.assign(state, { is: 'signed-out', me: null, ways });
}

/** Signs in with a password. Raises ApiProblem. */
export async function signIn(user_name: string, password: string): Promise<void> {
  await unwrap(api.POST('/session', { body: { user_name, password } }));
  await loadSession();
}

/** Ends this browser's session, after what the person has just deleted is. */
export async function signOut(): Promise<void> {
  await commitAll();
  await unwrap(api.DELETE('/session'));
  await signedOut();
}

onSignedOut(() => {
  if (state.is === 'signed-in') void signedOut().catch(() => (state.is = 'unreachable'));
});
