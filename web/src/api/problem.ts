/** What a request came to when it failed: a problem document (RFC 9457), or no answer. */
export interface FieldProblem {
  [name: string]: string | undefined;
}

export class ApiProblem extends Error {
  constructor(
    /** The HTTP status; 0 when there was no answer. */
    readonly status: number,
    readonly detail: string,
    /** What is wrong with which field. */
    readonly fields: FieldProblem[] = [],
    /** Seconds after which to ask again, where the server says so. */
    readonly retryAfter: number | null = null,
    /** The reason as a word, where the document has one: `not_connected`, or `timed_out`. */
    readonly reason = '',
  ) {
    super(detail);
    this.name = 'ApiProblem';
  }

  /** True when the server did not answer, and nothing is known of what it would say. */
  get unreachable(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** The problem in the answer of a request that failed. */
export function problemOf(response: Response, body: unknown): ApiProblem {
  const given = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  const detail = given.detail ?? given.error ?? response.statusText;
  const fields = Array.isArray(given.fields) ? (given.fields as FieldProblem[]) : [];
  const after = Number(response.headers.get('Retry-After'));
  const reason = given.reason ?? given.outcome;
  return new ApiProblem(response.status, String(detail), fields, Number.isFinite(after) && after > 0 ? after : null, typeof reason === 'string' ? reason : '');
}

/** The sentence to show for an error. */
export function problemText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
