import { expect, it } from 'vitest';
import { isOnLaterPage } from './paging';

const turns = [{ number: 1 }, { number: 100 }];
const query = { hasNextPage: true, isFetching: false, isFetchNextPageError: false };

it('asks for the page of a turn that is not loaded', () => {
  expect(isOnLaterPage(101, turns, query)).toBe(true);
  expect(isOnLaterPage(100, turns, query)).toBe(false);
  expect(isOnLaterPage(101, turns, { ...query, hasNextPage: false })).toBe(false);
});

it('asks once, and not again when the page failed', () => {
  expect(isOnLaterPage(101, turns, { ...query, isFetching: true })).toBe(false);
  expect(isOnLaterPage(101, turns, { ...query, isFetchNextPageError: true })).toBe(false);
});
