import { describe, expect, it } from 'vitest';
import { argumentsOf, asJson, asPicture, readValues } from './schema';

const volume = { type: 'object', properties: { volume: { type: 'integer', minimum: 0, maximum: 100 } }, required: ['volume'] };

describe('forms of tools', () => {
  it('makes a field that fits each argument, required ones first', () => {
    const args = argumentsOf({
      properties: {
        note: { type: 'string', default: 'hello' },
        on: { type: 'boolean', default: true },
        mode: { type: 'string', enum: ['warm', 'cold'] },
        port: { type: 'integer', minimum: 1, maximum: 65535 },
        volume: { type: 'integer', minimum: 0, maximum: 100 },
        where: { type: 'object' },
      },
      required: ['volume', 'mode'],
    });
    expect(args.map((each) => [each.name, each.kind, each.initial])).toEqual([
      ['mode', 'choice', 'warm'],
      ['volume', 'slider', '0'],
      ['note', 'text', 'hello'],
      ['on', 'switch', true],
      ['port', 'number', ''],
      ['where', 'json', ''],
    ]);
  });

  it('reads numbers as numbers and says what is wrong', () => {
    const args = argumentsOf(volume);
    expect(readValues(args, { volume: '35' })).toEqual({ value: { volume: 35 }, wrong: {} });
    for (const [text, wrong] of [['', 'missing'], ['x', 'number'], ['1.5', 'whole'], ['-1', 'low'], ['101', 'high']] as const) {
      expect(readValues(args, { volume: text }).wrong.volume?.is).toBe(wrong);
    }
  });

  it('leaves empty optional arguments out and reads JSON', () => {
    const args = argumentsOf({ properties: { a: { type: 'object' }, b: { type: 'string' } } });
    expect(readValues(args, {}).value).toEqual({});
    expect(readValues(args, { a: '{"x":[1]}' }).value).toEqual({ a: { x: [1] } });
    expect(readValues(args, { a: '{' }).wrong.a).toEqual({ is: 'json' });
  });

  it('takes any schema', () => {
    for (const odd of [{}, { properties: null }, { properties: { a: 1 }, required: 'a' }, { properties: { a: { enum: [1] } } }]) {
      expect(() => readValues(argumentsOf(odd as Record<string, unknown>), {})).not.toThrow();
    }
  });

  it('tells results apart', () => {
    expect(asJson('{"a":1}')).toBe('{\n  "a": 1\n}');
    expect(asJson('true')).toBeNull();
    expect(asPicture('{"type":"image","image":"data:image/png;base64,AAAA"}')).toBe('data:image/png;base64,AAAA');
    expect(asPicture('{"type":"image","image":"data:text/html,x"}')).toBeNull();
  });
});
