/** The events of one device in detail, the stages of its turns among them: a stream beside the one of the whole page. */
import type { LiveEvent } from '~/live/events.svelte';
import { beforeRetry, readEvents } from '~/live/stream';

const TYPES = 'turn_stage,turn_ended,tool_called';

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
  const query = new URLSearchParams({ types: TYPES, device: deviceId });
  while (!signal.aborted) {
    await readEvents(`/events?${query}`, {
      signal,
      opened: begun,
      told: (message) => message.event !== 'missed' && take(JSON.parse(message.data) as LiveEvent),
    }).catch(() => undefined);
    begun();
    if (!signal.aborted) await beforeRetry(signal);
  }
}
