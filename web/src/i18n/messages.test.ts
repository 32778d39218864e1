import { readdirSync, readFileSync, existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, TYPE, type MessageFormatElement } from '@formatjs/icu-messageformat-parser';
import { describe, expect, it } from 'vitest';

const src = fileURLToPath(new URL('..', import.meta.url));
const codes = ['en', 'vi', 'zh', 'ja', 'ru'];
const folders = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('messages/en.json'))
  .map((name) => dirname(join(src, name)));

const read = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>;

function placeholders(elements: MessageFormatElement[], found = new Set<string>()): Set<string> {
  for (const element of elements) {
    if (element.type !== TYPE.literal && element.type !== TYPE.pound) found.add(element.value);
    if (element.type === TYPE.plural || element.type === TYPE.select) {
      for (const option of Object.values(element.options)) placeholders(option.value, found);
    }
  }
  return found;
}

const parsed = (text: string) => parse(text, { ignoreTag: true });

it('there are messages', () => {
  expect(folders.length).toBeGreaterThan(1);
});

describe.each(folders.map((folder) => [relative(src, folder), folder]))('%s', (_, folder) => {
  const english = read(join(folder, 'en.json'));

  it.each(codes)('has every message in %s, with the same placeholders', (code) => {
    const path = join(folder, `${code}.json`);
    expect(existsSync(path), `${path} is missing`).toBe(true);
    const there = read(path);
    expect(Object.keys(there).sort()).toEqual(Object.keys(english).sort());
    for (const [key, text] of Object.entries(there)) {
      expect(text.trim(), `${code} ${key} is empty`).not.toBe('');
      const wanted = placeholders(parsed(english[key]!));
      expect([...placeholders(parsed(text))].sort(), `${code} ${key}`).toEqual([...wanted].sort());
    }
  });

  it('keeps few messages untranslated', () => {
    // Names and units may be the same; a file that was copied and left is not.
    for (const code of codes.filter((other) => other !== 'en')) {
      const there = read(join(folder, `${code}.json`));
      const words = Object.keys(english).filter((key) => /[a-z]{4,}/.test(english[key]!.replace(/\{[^}]*\}/g, '')));
      const same = words.filter((key) => there[key] === english[key]);
      expect(same.length, `${code}: ${same.join(', ')}`).toBeLessThanOrEqual(Math.max(3, words.length * 0.15));
    }
  });
});
