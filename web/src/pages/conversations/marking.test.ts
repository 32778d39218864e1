import { expect, it } from 'vitest';
import { excerpt, marked } from './marking';

const found = (text: string, query: string) => marked(text, query).filter((part) => part.found).map((part) => part.text);

it('marks whole words whatever their case and accents', () => {
  expect(found('Bật ĐÈN phòng khách, not the lighter', 'den light PHONG')).toEqual(['ĐÈN', 'phòng']);
});

it('marks beginnings where a star asks for them', () => {
  expect(found('light, lights and lighter', 'light*')).toEqual(['light', 'lights', 'lighter']);
});

it('marks words in scripts without spaces', () => {
  expect(found('请打开客厅的灯', '客厅')).toEqual(['客厅']);
});

it('keeps the text as it is', () => {
  for (const text of ['', 'no word', '<b>light</b> & light']) expect(marked(text, 'light').map((part) => part.text).join('')).toBe(text);
});

it('cuts what stands long before the first word', () => {
  const parts = excerpt(marked(`${'word '.repeat(100)}light on`, 'light'));
  expect(parts[0]!.text.length).toBeLessThan(90);
  expect(parts[1]).toEqual({ text: 'light', found: true });
});
