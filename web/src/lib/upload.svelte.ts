/** Uploads of files with progress: fetch tells nothing of how much was sent. */
import { messages } from '../i18n';
import { reportSignedOut } from '../api/client';
import { ApiProblem, problemOf, problemText } from '../api/problem';

const t = messages<typeof import('../shell/messages/en.json')>('shell');

export interface Sending {
  /** Bytes that were sent; all of them while the server reads and checks the rest. */
  sent: number;
  total: number;
}

/**
 * Sends a file as the body of a request to a path below /api/v1, and returns the answer's content. Raises ApiProblem, and
 * an AbortError when `signal` ends it.
 */
function upload<Data>(path: string, query: Record<string, string>, file: Blob, onprogress: (sending: Sending) => void, signal: AbortSignal): Promise<Data> {
  return new Promise<Data>((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    request.open('POST', `/api/v1${path}?${new URLSearchParams(query)}`);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.upload.onprogress = (event) => onprogress({ sent: event.loaded, total: file.size });
    request.onload = () => {
      let body: unknown = null;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // A proxy on the way answers in its own words.
      }
      if (request.status >= 200 && request.status < 300) return resolve(body as Data);
      if (request.status === 401) reportSignedOut();
      reject(problemOf(new Response(null, { status: request.status, statusText: request.statusText }), body));
    };
    request.onerror = () => reject(new ApiProblem(0, t('no-answer')));
    request.onabort = () => reject(new DOMException('aborted', 'AbortError'));
    request.onloadend = () => signal.removeEventListener('abort', stop);
    signal.addEventListener('abort', stop);
    if (signal.aborted) return reject(new DOMException('aborted', 'AbortError'));
    request.send(file);
  });
}

/** The upload of one file from a form: what was chosen, how far it is, and how it ended. */
export class Upload {
  file = $state<File | null>(null);
  sending = $state<Sending | null>(null);
  /** Why it failed; empty when it did not. */
  failed = $state('');
  /** True when the person stopped it. */
  stopped = $state(false);
  #running: AbortController | undefined;

  /** Sends the file to a path below /api/v1. Returns the answer's content, or null when it failed or was stopped. */
  async send<Data>(path: string, query: Record<string, string>): Promise<Data | null> {
    if (!this.file) return null;
    this.changed();
    const running = new AbortController();
    this.#running = running;
    this.sending = { sent: 0, total: this.file.size };
    try {
      return await upload<Data>(path, query, this.file, (told) => (this.sending = told), running.signal);
    } catch (error) {
      // After a reset there is nothing to tell.
      if (this.#running !== running) return null;
      if (error instanceof DOMException) this.stopped = true;
      else this.failed = problemText(error);
      return null;
    } finally {
      if (this.#running === running) this.sending = null;
    }
  }

  stop(): void {
    this.#running?.abort();
  }

  /** Forgets how the last attempt ended. */
  changed(): void {
    this.failed = '';
    this.stopped = false;
  }

  /** Begins anew, without a file. */
  reset(): void {
    this.stop();
    this.#running = undefined;
    this.changed();
    this.file = null;
    this.sending = null;
  }
}
