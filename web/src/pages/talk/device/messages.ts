/** Control messages between the browser device and the server: JSON in text frames. */
import { VERSION } from './frames';

export type Mode = 'manual' | 'auto' | 'realtime';
export const RATE = 16_000;
export const FRAME_MS = 60;
/** Samples of a frame of the microphone. */
export const FRAME = (RATE * FRAME_MS) / 1000;

export interface ServerMessage {
  type: string;
  session_id?: string;
  state?: string;
  text?: string;
  emotion?: string;
  status?: string;
  message?: string;
  command?: string;
  payload?: unknown;
}

/** The message in a text frame; null for what is none. */
export function read(text: string): ServerMessage | null {
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found !== 'object' || found === null || typeof (found as ServerMessage).type !== 'string') return null;
    return found as ServerMessage;
  } catch {
    return null;
  }
}

export const hello = () => ({
  type: 'hello',
  version: VERSION,
  transport: 'websocket',
  features: { mcp: true },
  audio_params: { format: 'opus', sample_rate: RATE, channels: 1, frame_duration: FRAME_MS },
});

export const listen = (session_id: string, state: 'start' | 'stop', mode?: Mode) => ({ session_id, type: 'listen', state, ...(mode ? { mode } : {}) });
export const typed = (session_id: string, text: string) => ({ session_id, type: 'listen', state: 'detect', source: 'text', text });
export const abort = (session_id: string) => ({ session_id, type: 'abort' });
export const goodbye = (session_id: string) => ({ session_id, type: 'goodbye' });
export const mcp = (session_id: string, payload: object) => ({ session_id, type: 'mcp', payload });
