import { expect, it } from 'vitest';
import { csvOf } from './csv';
import { daysBetween, firstOf } from './range';

it('counts days over the end of a month and of summer time', () => {
  expect(firstOf('2026-03-01', 2)).toBe('2026-02-28');
  expect(daysBetween('2026-03-28', '2026-03-31')).toEqual(['2026-03-28', '2026-03-29', '2026-03-30', '2026-03-31']);
  expect(daysBetween('2026-03-02', '2026-03-01')).toEqual([]);
});

it('quotes what a table program would take for more than one cell, or for a formula', () => {
  expect(csvOf(['a', 'b'], [['x,y', 'say "hi"'], ['=1+1', null], [-5, '@sum']])).toBe('a,b\r\n"x,y","say ""hi"""\r\n\'=1+1,\r\n-5,\'@sum\r\n');
});
