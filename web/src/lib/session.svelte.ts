/** Who is signed in, and what they may do. */
import { api, onSignedOut } from '../api/client';
import { askAllAgain, queries } from '../api/queries';
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
    startLive(catchUp);
  } catch (error) {
    if (!(error instanceof ApiProblem)) throw error;
    state.is = 'unreachable';
  }
}

/**
 * Asks who this browser's session belongs to by now, and what they may do: in another tab somebody else may have signed in.
 * Of the former person nothing stays then. An answer that does not come changes nothing.
 */
export async function refreshMe(): Promise<void> {
  const { data } = await api.GET('/me').catch((error: unknown) => {
    if (error instanceof ApiProblem) return { data: undefined };
    throw error;
  });
  // Without a session, the answer was reported, and this page is signed out.
  if (!data || state.is !== 'signed-in') return;
  if (data.id !== state.me?.id) {
    stopLive();
    undoAll();
    queries.clear();
  }
  queries.setQueryData(['me'], data);
  state.me = data;
  startLive(catchUp);
}

/** Asks for all that may have changed while nothing was told. Whose the answers are comes first. */
function catchUp(): void {
  void refreshMe().then(askAllAgain);
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
