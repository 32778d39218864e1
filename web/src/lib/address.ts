/** What a page keeps in the query of its address, so that a link, the way back and a reload lead to the same. */
import { searchParams } from 'sv-router';

/** The query of the address; reactive, also to links that lead to the page that is shown. */
export function addressQuery(): URLSearchParams {
  return searchParams.toURLSearchParams();
}

/** Changes the values in the query that are given, without another entry of the history; an empty one leaves it. */
export function changeQuery(values: Readonly<Record<string, string | undefined>>): void {
  const present = addressQuery();
  const { state } = history;
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === (present.get(name) ?? '')) continue;
    if (value) searchParams.set(name, value, { replace: true });
    else searchParams.delete(name, undefined, { replace: true });
  }
  // sv-router drops the state, and with it the index by which it finds its way through the history.
  if (history.state !== state) history.replaceState(state, '');
}
