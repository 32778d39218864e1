/** The events of one device in detail, the stages of its turns among them: a stream beside the one of the whole page. */
import { createParser } from 'eventsource-parser';
import { get } from '~/api';
import type { LiveEvent } from '~/live/events.svelte';

const TYPES = 'turn_stage,turn_ended,tool_called';
const RETRY_MS = 2000;

export interface Following {
  /** Resolves when events are told, or the first attempt failed. */
  begun: Promise<void>;
  stop: () => void;
}

/** Gives `take` the events from now on, until it is stopped. */
export function follow(deviceId: string, take: (event: LiveEvent) => void): Following {
  const own = new AbortController();
  let begin = () => {};
  const begun = new Promise<void>((resolve) => (begin = resolve));
  void keep(deviceId, take, begin, own.signal);
  return { begun, stop: () => own.abort() };
}

async function keep(deviceId: string, take: (event: LiveEvent) => void, begun: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await readOnce(deviceId, take, begun, signal).catch(() => undefined);
    begun();
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function readOnce(deviceId: string, take: (event: LiveEvent) => void, begun: () => void, signal: AbortSignal): Promise<void> {
  const query = new URLSearchParams({ types: TYPES, device: deviceId });
  const response = await get(`/events?${query}`, { cache: 'no-store', signal });
  begun();
  const parser = createParser({ onEvent: (message) => message.event !== 'missed' && take(JSON.parse(message.data) as LiveEvent) });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parser.feed(value);
  }
}
