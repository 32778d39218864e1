/** Passkeys of this browser: registration and signing in. The library loads with the first use. */
import type { PublicKeyCredentialCreationOptionsJSON, PublicKeyCredentialRequestOptionsJSON } from '@simplewebauthn/browser';
import { api, unwrap, type Api } from '~/api';

/** Why there are no passkeys here; null when there are. Browsers have them on https:// names and on localhost alone. */
export function withoutPasskeys(): 'address' | 'insecure' | 'browser' | null {
  const host = location.hostname;
  if (/^[0-9.]+$/.test(host) || host.startsWith('[')) return 'address';
  if (!window.isSecureContext) return 'insecure';
  return typeof window.PublicKeyCredential === 'function' ? null : 'browser';
}

/** True for a wish that the person gave up, which needs no word. */
export function isGivenUp(error: unknown): boolean {
  return error instanceof Error && ['NotAllowedError', 'AbortError'].includes(error.name);
}

/** Makes a passkey for who is signed in. Raises ApiProblem, and an Error of the browser. */
export async function registerPasskey(name: string): Promise<Api<'Passkey'>> {
  const { startRegistration } = await import('@simplewebauthn/browser');
  const { options } = await unwrap(api.POST('/me/passkeys/options'));
  const made = await startRegistration({ optionsJSON: options as unknown as PublicKeyCredentialCreationOptionsJSON });
  return unwrap(api.POST('/me/passkeys', { body: { name, credential: asJson(made) } }));
}

/** Signs in with a passkey; `offered`: in the list that the browser shows for the field of the user name, until one is chosen. False where the browser has none. */
export async function signInByPasskey(offered = false): Promise<boolean> {
  const { browserSupportsWebAuthnAutofill, startAuthentication } = await import('@simplewebauthn/browser');
  if (offered && !(await browserSupportsWebAuthnAutofill())) return false;
  const { options } = await unwrap(api.POST('/session/passkey/options'));
  const optionsJSON = options as unknown as PublicKeyCredentialRequestOptionsJSON;
  const answer = await startAuthentication({ optionsJSON, useBrowserAutofill: offered, verifyBrowserAutofillInput: false });
  await unwrap(api.POST('/session/passkey', { body: { credential: asJson(answer) } }));
  return true;
}

/** Ends the offer in the field of the user name. */
export async function endOffer(): Promise<void> {
  const { WebAuthnAbortService } = await import('@simplewebauthn/browser');
  WebAuthnAbortService.cancelCeremony();
}

function asJson(value: object): Api<'PasskeySignIn'>['credential'] {
  return JSON.parse(JSON.stringify(value)) as Api<'PasskeySignIn'>['credential'];
}
