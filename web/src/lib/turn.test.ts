import { expect, it } from 'vitest';
import { kindOf, providerOf, spansOf } from './turn';

it('puts the stages one behind the other', () => {
  expect(spansOf({ endpoint: 600, transcript: 740, first_token: 1000, first_sentence: 1100, first_audio: 1180, stop: 4000 })).toEqual([
    { stage: 'endpoint', kind: 'endpoint', from: 0, to: 600 },
    { stage: 'transcript', kind: 'transcript', from: 600, to: 740 },
    { stage: 'first_token', kind: 'think', from: 740, to: 1000 },
    { stage: 'first_sentence', kind: 'think', from: 1000, to: 1100 },
    { stage: 'first_audio', kind: 'audio', from: 1100, to: 1180 },
    { stage: 'stop', kind: 'speech', from: 1180, to: 4000 },
  ]);
});

it('shows an answer that was begun before the end was decided', () => {
  const spans = spansOf({ endpoint: 660, transcript: 661, first_token: 600, first_audio: 662 });
  expect(spans.map((span) => [span.from, span.to])).toEqual([[0, 660], [660, 661], [600, 600], [661, 662]]);
});

it('leaves out what was not reached', () => {
  expect(spansOf({ endpoint: 500 })).toHaveLength(1);
});

it('names the provider of a stage, and the one that does all', () => {
  expect(providerOf('first_token', { llm: 'ollama', tts: 'piper' })).toBe('ollama');
  expect(providerOf('transcript', { s2s: 'gemini_live' })).toBe('gemini_live');
  expect(providerOf('endpoint', { s2s: 'gemini_live' })).toBeUndefined();
  expect(kindOf('first_sentence')).toBe('think');
});
