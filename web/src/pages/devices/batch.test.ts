import { expect, it, vi } from 'vitest';
import { changeAll } from './batch';

type Item = { id: string; tags?: string[] };
const answers = vi.hoisted(() => ({ GET: vi.fn(), PATCH: vi.fn() }));
vi.mock('~/api', async (original) => ({ ...(await original<object>()), api: answers }));

const answer = (data: unknown, status = 200) => ({ data, error: data, response: new Response(null, { status }) });

/** A server whose devices have these tags; `most` changes are taken, then it answers 503. Returns the changes. */
function server(tags: Record<string, string[]>, most = 1000) {
  const changed: Item[] = [];
  answers.GET.mockImplementation(async (_: string, { params }: { params: { path: { device_id: string } } }) => {
    const found = tags[params.path.device_id];
    return found ? answer({ tags: found }) : answer({ detail: 'there is no device' }, 404);
  });
  answers.PATCH.mockImplementation(async (_: string, { body: { devices } }: { body: { devices: Item[] } }) => {
    expect(devices.length).toBeLessThanOrEqual(100);
    if (changed.length + devices.length > most) return answer({ detail: 'busy' }, 503);
    changed.push(...devices);
    return answer({ results: devices.map(({ id }) => ({ id, status: id in tags ? 200 : 404 })) });
  });
  return changed;
}

const ids = Array.from({ length: 150 }, (_, at) => `d${at}`);
const all = Object.fromEntries(ids.map((id) => [id, [] as string[]]));

it('adds to the tags that a device has now, and tells of one that is gone', async () => {
  const changed = server({ d0: ['new'], d1: [] });
  const results = await changeAll(['d0', 'd1', 'gone'], true, (tags) => ({ tags: [...tags, 'cellar'] }));
  expect(changed.map((each) => each.tags)).toEqual([['new', 'cellar'], ['cellar'], ['cellar']]);
  expect(results.map((each) => each.status)).toEqual([200, 200, 404]);
});

it('changes all of them, however many', async () => {
  const changed = server(all);
  const results = await changeAll(ids, false, () => ({ room: 'Hall' }));
  expect([changed.length, results.length]).toEqual([150, 150]);
});

it('tells what was changed when the server fails in between', async () => {
  server(all, 100);
  const results = await changeAll(ids, false, () => ({ room: 'Hall' }));
  expect(results.filter((each) => each.status === 200)).toHaveLength(100);
  expect(results.filter((each) => each.status === 503)).toHaveLength(50);
});
