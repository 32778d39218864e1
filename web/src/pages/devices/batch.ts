/** Changes of many devices at once. */
import { api, ApiProblem, unwrap, type Api } from '~/api';
import type { Patch } from './device';

/** Devices of one request: no more are taken. */
const MOST = 100;
/** Devices of one page of the list: no more are told. */
const PAGE = 200;

export const kinds = ['room', 'add-tag', 'remove-tag', 'agent', 'auto_update', 'recordings', 'channel'] as const;
/** What is changed, and the text or the choice that it is changed to. */
export type Change = Readonly<{ kind: (typeof kinds)[number]; text: string; choice: string }>;

type Result = Api<'DeviceBatchResult'>;
type Tags = ReadonlyMap<string, readonly string[]>;

/** Changes the devices, and tells what came of each. Raises ApiProblem when nothing was changed. */
export async function changeAll(ids: readonly string[], given: Change): Promise<Result[]> {
  // The form that it comes from can change while this runs.
  const change = { ...given };
  const tags: Tags = change.kind === 'add-tag' || change.kind === 'remove-tag' ? await tagsOf(ids) : new Map();
  const results: Result[] = [];
  for (let at = 0; at < ids.length; at += MOST) {
    try {
      const devices = ids.slice(at, at + MOST).map((id) => ({ id, ...patchOf(change, tags.get(id) ?? []) }));
      results.push(...(await unwrap(api.PATCH('/devices', { body: { devices } }))).results);
    } catch (error) {
      // What was changed before is told beside what was not.
      if (results.length === 0 || !(error instanceof ApiProblem)) throw error;
      const { status, detail } = error;
      return [...results, ...ids.slice(at).map((id) => ({ id, status, detail }))];
    }
  }
  return results;
}

function patchOf({ kind, text, choice }: Change, tags: readonly string[]): Patch {
  switch (kind) {
    case 'room': return { room: text };
    case 'channel': return { channel: text };
    case 'add-tag': return { tags: [...new Set([...tags, text.trim()])] };
    case 'remove-tag': return { tags: tags.filter((tag) => tag !== text.trim()) };
    case 'agent': return { agent: choice };
    case 'auto_update': return { auto_update: choice === 'on' };
    case 'recordings': return { recordings: choice as '' | 'on' | 'off' };
  }
}

/**
 * The tags that these devices have at this moment: the list that is shown may be old, and a request for each would be more
 * than a person may send. Of a device that is gone there are none; the change itself tells of it.
 */
async function tagsOf(ids: readonly string[]): Promise<Tags> {
  const wanted = new Set(ids);
  const found = new Map<string, readonly string[]>();
  let cursor: string | undefined;
  do {
    const page = await unwrap(api.GET('/devices', { params: { query: { limit: PAGE, cursor } } }));
    for (const { id, tags } of page.items) if (wanted.has(id)) found.set(id, tags ?? []);
    cursor = page.next ?? undefined;
  } while (cursor !== undefined && found.size < wanted.size);
  return found;
}
