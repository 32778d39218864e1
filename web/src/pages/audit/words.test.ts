import { expect, it } from 'vitest';
import { actionKeys, diffOf, kindKey } from './words';

it('finds words for what it knows, and none for the rest', () => {
  expect(actionKeys('user.create')).toEqual({ kind: 'kind-user', verb: 'verb-create' });
  expect(actionKeys('listed_device.add')).toEqual({ kind: 'kind-listed_device', verb: 'verb-add' });
  for (const action of ['device.allow', 'device.prove', 'reminder.cancel', 'model.cancel', 'rollout.halt', 'rollout.pause', 'rollout.resume', 'rollout.end', 'assets.withdraw', 'turn.replay']) {
    expect(actionKeys(action), action).not.toBeNull();
  }
  expect(actionKeys('user.teleport')).toBeNull();
  expect(actionKeys('nothing')).toBeNull();
  expect(kindKey('spaceship')).toBeNull();
});

it('writes what changed as a diff', () => {
  expect(diffOf({ role: 'member', name: 'bob' }, { role: 'admin', name: 'bob' })).toBe('-role: member\n+role: admin\n name: bob');
  expect(diffOf({}, { scopes: ['audit', 'people'] })).toBe('+scopes:\n+  audit\n+  people');
  expect(diffOf({ note: null }, { note: 'a\nb' })).toBe('-note: –\n+note:\n+a\n+b');
  expect(diffOf({}, {})).toBe('');
});
