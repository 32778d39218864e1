import { expect, it } from 'vitest';
import { askAllAgain, queries } from './queries';

it('asks for all again but what a device is asked for by a message', async () => {
  queries.setQueryDefaults(['device-status'], { meta: { byMessage: true } });
  const keys = ['devices', 'device-status'];
  for (const key of keys) await queries.prefetchQuery({ queryKey: [key], queryFn: () => key });
  await askAllAgain();
  expect(keys.map((key) => queries.getQueryState([key])?.isInvalidated)).toEqual([true, false]);
  queries.clear();
});
