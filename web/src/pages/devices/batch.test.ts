import { expect, it, vi } from 'vitest';
import { changeAll, type kinds } from './batch';

type Item = { id: string; tags?: string[] };
const answers = vi.hoisted(() => ({ GET: vi.fn(), PATCH: vi.fn() }));
vi.mock('~/api', async (original) => ({ ...(await original<object>()), api: answers }));

const answer = (data: unknown, status = 200) => ({ data, error: data, response: new Response(null, { status }) });

/** A server whose devices have these tags; `most` changes are taken, then it answers 503. Returns the changes. */
function server(tags: Record<string, string[]>, most = 1000) {
  const changed: Item[] = [];
  const known = Object.keys(tags);
  answers.GET.mockReset().mockImplementation(async (_: string, { params: { query } }: { params: { query: { limit: number; cursor?: string } } }) => {
    const from = Number(query.cursor ?? 0);
    const items = known.slice(from, from + query.limit).map((id) => ({ id, tags: tags[id] }));
    return answer({ items, next: from + query.limit < known.length ? String(from + query.limit) : null });
  });
  answers.PATCH.mockImplementation(async (_: string, { body: { devices } }: { body: { devices: Item[] } }) => {
    expect(devices.length).toBeLessThanOrEqual(100);
    if (changed.length + devices.length > most) return answer({ detail: 'busy' }, 503);
    changed.push(...devices);
    return answer({ results: devices.map(({ id }) => ({ id, status: id in tags ? 200 : 404 })) });
  });
  return changed;
}

const ids = Array.from({ length: 450 }, (_, at) => `d${at}`);
const all = Object.fromEntries(ids.map((id) => [id, [id]]));
const hall = { kind: 'room', text: 'Hall', choice: '' } as const;
const cellar = { kind: 'add-tag', text: ' cellar', choice: '' } as const;

it('adds to the tags that a device has now, and tells of one that is gone', async () => {
  const changed = server({ d0: ['new'], d1: [] });
  const results = await changeAll(['d0', 'd1', 'gone'], cellar);
  expect(changed.map((each) => each.tags)).toEqual([['new', 'cellar'], ['cellar'], ['cellar']]);
  expect(results.map((each) => each.status)).toEqual([200, 200, 404]);
});

it('changes all of them, however many, and asks for the tags of many at once', async () => {
  const changed = server(all);
  const results = await changeAll(ids, cellar);
  expect(changed).toEqual(ids.map((id) => ({ id, tags: [id, 'cellar'] })));
  expect([results.length, answers.GET.mock.calls.length]).toEqual([450, 3]);
  await changeAll(['d3'], { kind: 'remove-tag', text: 'd3', choice: '' });
  expect([changed.at(-1), answers.GET.mock.calls.length]).toEqual([{ id: 'd3', tags: [] }, 4]);
});

it('makes the change that it was given, whatever becomes of the form meanwhile', async () => {
  const changed = server(all);
  const form: { kind: (typeof kinds)[number]; text: string; choice: string } = { ...cellar };
  const running = changeAll(ids, form);
  Object.assign(form, { kind: 'room', text: '' });
  await running;
  expect(changed).toEqual(ids.map((id) => ({ id, tags: [id, 'cellar'] })));
});

it('tells what was changed when the server fails in between', async () => {
  server(all, 400);
  const results = await changeAll(ids, hall);
  expect(results.filter((each) => each.status === 200)).toHaveLength(400);
  expect(results.filter((each) => each.status === 503)).toHaveLength(50);
  expect(answers.GET).not.toHaveBeenCalled();
});
