/** What was asked of the API, kept for a while and asked again when it changed. */
import { QueryClient } from '@tanstack/svelte-query';
import { ApiProblem } from './problem';

declare module '@tanstack/svelte-query' {
  interface Register {
    /** `byMessage`: the answer is asked of a device by a message to it, which nobody wants with each break of the network. */
    queryMeta: { byMessage?: boolean };
  }
}

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      gcTime: 5 * 60_000,
      // A network without internet is one that works here.
      networkMode: 'always',
      retry: (failures, error) => error instanceof ApiProblem && error.unreachable && failures < 2,
      retryDelay: (failures) => Math.min(1000 * 2 ** failures, 8000),
    },
    mutations: { networkMode: 'always', retry: false },
  },
});

/** Asks for all that is shown again, as changes of it may have been missed. */
export function askAllAgain(): Promise<void> {
  return queries.invalidateQueries({ predicate: ({ meta }) => !meta?.byMessage });
}
