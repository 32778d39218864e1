/** Pages of a conversation's turns. */

/**
 * True when the turn with the number `wanted` is on a page that is not loaded, and can be asked for. A page that failed is not
 * asked for again by itself: its button is there.
 */
export function isOnLaterPage(
  wanted: number,
  turns: readonly { number: number }[],
  query: { hasNextPage: boolean; isFetching: boolean; isFetchNextPageError: boolean },
): boolean {
  return query.hasNextPage && !query.isFetching && !query.isFetchNextPageError && !turns.some((turn) => turn.number >= wanted);
}
