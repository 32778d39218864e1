import { expect, it, vi } from 'vitest';
import { usage } from './words';

const asked = vi.hoisted(() => [] as { by?: string; from?: string; to?: string }[]);
vi.mock('~/i18n', () => ({ messages: () => String }));
vi.mock('~/api', () => ({
  unwrap: (answer: unknown) => answer,
  api: {
    GET: (_: string, { params: { query } }: { params: { query: object } }) => {
      asked.push(query);
      return { items: [], next: null, to: '2026-03-01' };
    },
  },
}));

it('adds up the last days of the server, whatever day it is here', async () => {
  await usage(7);
  expect(asked.at(-1)).toMatchObject({ by: 'provider', from: '2026-02-23', to: '2026-03-01' });
});
