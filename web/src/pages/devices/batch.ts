/** Changes of many devices at once. */
import { api, ApiProblem, unwrap, type Api } from '~/api';
import type { Patch } from './device';

/** Devices of one request: no more are taken. */
const MOST = 100;

type Result = Api<'DeviceBatchResult'>;

/**
 * Changes the devices, and tells what came of each. `patchFor` is given a device's tags of this moment where the change is
 * one `ofTags`, as the list that is shown may be old. Raises ApiProblem when nothing was changed.
 */
export async function changeAll(ids: readonly string[], ofTags: boolean, patchFor: (tags: readonly string[]) => Patch): Promise<Result[]> {
  const results: Result[] = [];
  for (let at = 0; at < ids.length; at += MOST) {
    try {
      const devices = await Promise.all(ids.slice(at, at + MOST).map(async (id) => ({ id, ...patchFor(ofTags ? await tagsOf(id) : []) })));
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

async function tagsOf(id: string): Promise<readonly string[]> {
  try {
    return (await unwrap(api.GET('/devices/{device_id}', { params: { path: { device_id: id } } }))).tags ?? [];
  } catch (error) {
    // Of a device that is gone, the change itself tells.
    if (error instanceof ApiProblem && error.status === 404) return [];
    throw error;
  }
}
