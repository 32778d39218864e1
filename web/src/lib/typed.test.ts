import { expect, it } from 'vitest';
import { Typed } from './typed.svelte';

const person = (version: number, name: string, email = '') => ({ version, name, email });
const typed = () => new Typed(person(1, 'Ada'), ({ name, email }) => ({ name, email }));

it('shows what others changed while nothing was typed', () => {
  const form = typed();
  form.follow(person(2, 'Ada L.'));
  expect([form.fields.name, form.base.version, form.changed]).toEqual(['Ada L.', 2, {}]);
});

it('keeps what was typed, and the version that it was typed over', () => {
  const form = typed();
  form.fields.email = 'ada@example.org';
  form.follow(person(2, 'Ada L.'));
  expect([form.fields, form.base.version]).toEqual([{ name: 'Ada', email: 'ada@example.org' }, 1]);
  expect(form.changed).toEqual({ email: 'ada@example.org' });
});

it('puts what was typed on top of a newer version', () => {
  const form = typed();
  form.fields.email = 'ada@example.org';
  form.rebase(person(2, 'Ada L.'));
  expect([form.fields, form.base.version, form.changed]).toEqual([{ name: 'Ada L.', email: 'ada@example.org' }, 2, { email: 'ada@example.org' }]);
});

it('takes a newer version whose fields are the same as that which was typed over', () => {
  const form = typed();
  form.fields.email = 'ada@example.org';
  form.follow(person(2, 'Ada'));
  expect([form.fields, form.base.version, form.changed]).toEqual([{ name: 'Ada', email: 'ada@example.org' }, 2, { email: 'ada@example.org' }]);
});

it('keeps what is typed while it is saved', () => {
  const form = typed();
  form.fields.name = ' Ada L.';
  const sent = { ...form.fields };
  form.fields.email = 'ada@example.org';
  form.rebase(person(2, 'Ada L.'), sent);
  expect([form.fields, form.base.version, form.changed]).toEqual([{ name: 'Ada L.', email: 'ada@example.org' }, 2, { email: 'ada@example.org' }]);
});
