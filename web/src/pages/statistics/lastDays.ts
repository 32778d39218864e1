/** The last days by the server's clock, which may have begun another day than this browser's. */
import { api, unwrap } from '~/api';
import { firstOf } from './range';

/** The first and the last of the last `days` days, today included, as the API takes them. Raises ApiProblem. */
export async function lastDays(days: number, signal?: AbortSignal): Promise<{ from: string; to: string }> {
  // Without days the server answers with its own last 30.
  const { to } = await unwrap(api.GET('/statistics', { params: { query: { limit: 1 } }, signal }));
  return { from: firstOf(to, days), to };
}
