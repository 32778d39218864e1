/** Binary frames of the devices' WebSocket, version 3: type, reserved, length of the payload (big-endian), payload. */
export const VERSION = 3;
const HEAD = 4;
const OPUS = 0;

/** A frame around one Opus packet. */
export function packed(opus: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(HEAD + opus.length);
  const view = new DataView(frame.buffer);
  view.setUint8(0, OPUS);
  view.setUint16(2, opus.length);
  frame.set(opus, HEAD);
  return frame;
}

/** The Opus packet in a frame; null for anything else. */
export function unpacked(frame: ArrayBuffer): Uint8Array<ArrayBuffer> | null {
  if (frame.byteLength <= HEAD) return null;
  const view = new DataView(frame);
  if (view.getUint8(0) !== OPUS || view.getUint16(2) !== frame.byteLength - HEAD) return null;
  return new Uint8Array(frame, HEAD);
}
