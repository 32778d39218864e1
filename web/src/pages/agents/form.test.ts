import { describe, expect, it } from 'vitest';
import { Draft } from './form.svelte';

describe('a draft that was sent', () => {
  it('is as it was saved, with nothing changed', () => {
    const draft = new Draft({ name: 'Bo', greeting: 'Hi' });
    draft.values.name = 'Bob';
    const sent = draft.sending();
    draft.settle({ name: 'Bob', greeting: 'Hi' }, sent);
    expect(draft.values.name).toBe('Bob');
    expect(draft.changed).toEqual([]);
  });

  it('keeps what was typed and taken back since', () => {
    const draft = new Draft({ name: 'Bo', greeting: 'Hi', tools: ['a'] });
    draft.values.name = 'Bob';
    const sent = draft.sending();
    draft.values.name = 'Bobby';
    draft.values.tools.push('b');
    draft.back.add('greeting');
    draft.settle({ name: 'Bob', greeting: 'Hi', tools: ['a'] }, sent);
    expect(draft.values.name).toBe('Bobby');
    expect(draft.values.tools).toEqual(['a', 'b']);
    expect(draft.body()).toEqual({ name: 'Bobby', tools: ['a', 'b'], greeting: null });
  });

  it('takes back only once what was saved as taken back', () => {
    const draft = new Draft({ name: 'Bo', greeting: 'Hi' });
    draft.back.add('greeting');
    draft.settle({ name: 'Bo', greeting: '' }, draft.sending());
    expect(draft.changed).toEqual([]);
  });
});

describe('an empty speed', () => {
  it('is the usual one: nothing is changed by it, and null is not sent', () => {
    const draft = new Draft({ name: 'Bo' });
    draft.values.speed = null;
    expect(draft.changed).toEqual([]);
    const slow = new Draft({ name: 'Bo', speed: 0.8 });
    slow.values.speed = null;
    expect(slow.values.speed).toBeNull();
    expect(slow.body()).toEqual({ speed: 1 });
  });
});
