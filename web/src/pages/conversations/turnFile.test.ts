import { expect, it } from 'vitest';
import { FORMAT, MAX_FILE_BYTES, readTurnFile, VERSION, WrongFile } from './turnFile';

const turn = { number: 2, kind: 'utterance', agent: 'default', mode: 'auto', started_at: '2026-08-01T12:00:00Z', heard: 'hi', reply: 'hello', outcome: 'answered', error: '', stages_ms: { first_audio: 900 }, tools: ['lamp'], tool_spans: [{ name: 'lamp', at_ms: 500, ms: 20 }], providers: { llm: 'ollama' }, uses: [{ role: 'llm', name: 'ollama', input_tokens: 3 }], cost: null, heard_s: 1, spoken_s: 2 };
const file = (more: object = {}) => ({ format: FORMAT, version: VERSION, saved_at: '2026-08-01T13:00:00+00:00', server_version: '1', turn, audio: { user: { type: 'audio/ogg', data: btoa('OggS and so on') } }, ...more });
const wrong = (content: string): [string, string] => {
  try {
    readTurnFile(content);
  } catch (error) {
    if (error instanceof WrongFile) return [error.wrong, error.where];
    throw error;
  }
  return ['fine', ''];
};

it('reads what the server wrote', () => {
  const read = readTurnFile(JSON.stringify(file()));
  expect(read.turn.stages_ms.first_audio).toBe(900);
  expect(read.turn.tool_spans).toEqual([{ name: 'lamp', at_ms: 500, ms: 20, failed: false }]);
  expect(read.audio.user?.byteLength).toBe(14);
  expect(read.audio.assistant).toBeUndefined();
});

it('says what is wrong with a file', () => {
  expect(wrong('{')).toEqual(['not-json', '']);
  expect(wrong('[]')).toEqual(['not-a-turn', '']);
  expect(wrong('null')).toEqual(['not-a-turn', '']);
  expect(wrong(JSON.stringify(file({ format: 'other' })))).toEqual(['not-a-turn', '']);
  expect(wrong(JSON.stringify(file({ version: 2 })))).toEqual(['newer', '']);
  expect(wrong(JSON.stringify(file({ version: 'x' })))).toEqual(['damaged', 'version']);
  expect(wrong('x'.repeat(MAX_FILE_BYTES + 1))).toEqual(['too-large', '']);
});

it('believes nothing in a file', () => {
  const with_ = (change: object) => wrong(JSON.stringify(file({ turn: { ...turn, ...change } })));
  expect(with_({ heard: { toString: 1 } })).toEqual(['damaged', 'turn.heard']);
  expect(with_({ reply: 'x'.repeat(30_000) })).toEqual(['damaged', 'turn.reply']);
  expect(with_({ stages_ms: { first_audio: 1e30 } })).toEqual(['damaged', 'turn.stages_ms.first_audio']);
  expect(with_({ stages_ms: [1] })).toEqual(['damaged', 'turn.stages_ms']);
  expect(with_({ tools: Array(100).fill('x') })).toEqual(['damaged', 'turn.tools']);
  expect(with_({ tool_spans: [{ name: 'x', at_ms: 0, ms: -5 }] })).toEqual(['damaged', 'turn.tool_spans[0].ms']);
  expect(with_({ uses: [{ role: 'llm', name: 1 }] })).toEqual(['damaged', 'turn.uses[0].name']);
  expect(with_({ started_at: 'yesterday' })).toEqual(['damaged', 'turn.started_at']);
  expect(wrong(JSON.stringify(file({ turn: null })))).toEqual(['damaged', 'turn']);
  expect(wrong(JSON.stringify(file({ audio: { user: { data: 'not base64!' } } })))).toEqual(['damaged', 'audio.user']);
  expect(wrong(JSON.stringify(file({ audio: { user: { data: btoa('<svg onload=x') } } })))[0]).toBe('damaged');
});

it('gives names in a file no meaning', () => {
  const read = readTurnFile(JSON.stringify(file()).replace('"ollama"}', '"ollama","__proto__":"x","constructor":"y"}'));
  expect(Object.getPrototypeOf(read.turn.providers)).toBe(null);
  expect(Object.keys(read.turn.providers)).toContain('__proto__');
  expect(({} as Record<string, unknown>).x).toBeUndefined();
});
