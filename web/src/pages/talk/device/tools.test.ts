import { expect, it } from 'vitest';
import { Tools, type Body, type Vision } from './tools';

function body(photo?: Body['photo']): Body & { at: number } {
  return {
    at: 70,
    volume() { return this.at; },
    setVolume(volume) { this.at = volume; },
    photo,
  };
}

const call = (name: string, given: object, id = 1) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: given } });
const names = (reply: object | null) => (reply as { result: { tools: { name: string }[] } }).result.tools.map((tool) => tool.name);

it('sets the volume, and refuses what is none', async () => {
  const device = body();
  const tools = new Tools(device);
  expect(await tools.answer(call('self.audio_speaker.set_volume', { volume: 30 }))).toMatchObject({ id: 1, result: { isError: false } });
  expect(device.at).toBe(30);
  for (const volume of [101, -1, 2.5, '30', undefined]) {
    expect(await tools.answer(call('self.audio_speaker.set_volume', { volume }))).toMatchObject({ error: { code: -32602 } });
  }
  expect(device.at).toBe(30);
});

it('has a camera only where there can be one, and asks where the photo goes', async () => {
  expect(names(await new Tools(body()).answer({ jsonrpc: '2.0', id: 1, method: 'tools/list' }))).not.toContain('self.camera.take_photo');
  const asked: [string, Vision][] = [];
  const tools = new Tools(body(async (question, vision) => { asked.push([question, vision]); return 'a cup'; }));
  expect(names(await tools.answer({ jsonrpc: '2.0', id: 1, method: 'tools/list' }))).toContain('self.camera.take_photo');
  expect(await tools.answer(call('self.camera.take_photo', { question: 'what?' }))).toMatchObject({ error: { code: -32603 } });
  await tools.answer({ jsonrpc: '2.0', id: 2, method: 'initialize', params: { capabilities: { vision: { url: 'http://x/vision', token: 't' } } } });
  expect(await tools.answer(call('self.camera.take_photo', { question: 'what?' }))).toMatchObject({ result: { content: [{ text: 'a cup' }] } });
  expect(asked).toEqual([['what?', { url: 'http://x/vision', token: 't' }]]);
});

it('answers what goes wrong, and ignores what is no request', async () => {
  const tools = new Tools(body(async () => { throw new Error('the person refused'); }));
  await tools.answer({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { capabilities: { vision: { url: '/v' } } } });
  expect(await tools.answer(call('self.camera.take_photo', { question: '?' }))).toMatchObject({ error: { message: 'the person refused' } });
  expect(await tools.answer(call('self.reboot', {}))).toMatchObject({ error: { code: -32601 } });
  expect(await tools.answer({ jsonrpc: '2.0', id: 3, method: 'resources/list' })).toMatchObject({ error: { code: -32601 } });
  for (const payload of [null, 'x', [], {}, { jsonrpc: '2.0', id: 'a', method: 'tools/list' }, { jsonrpc: '2.0', method: 'notifications/x' }]) {
    expect(await tools.answer(payload)).toBeNull();
  }
});
