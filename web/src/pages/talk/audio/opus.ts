/**
 * Opus in both directions: by the browser's WebCodecs where it has them, else by libopus in WebAssembly, which is loaded
 * when it is needed. WebCodecs exist in secure contexts alone.
 */
import { FRAME, FRAME_MS, RATE } from '../device/messages';

/** The rate of what is decoded, in Hz. */
export const PLAYED_RATE = 48_000;
const BITRATE = 24_000;
const COMPLEXITY = 5;

export interface Encoder {
  /** Takes a frame of 16 kHz; its packet is given to `onPacket`. */
  encode(frame: Float32Array): void;
  close(): void;
}

export interface Decoder {
  /** Takes a packet; its samples, at `PLAYED_RATE`, are given to `onSamples`. */
  decode(packet: Uint8Array<ArrayBuffer>): void;
  /** Forgets what is being decoded: none of it is given to `onSamples` any more. */
  reset(): void;
  /** Resolves when all packets taken so far were decoded. */
  flush(): Promise<void>;
  close(): void;
}

const encoding = {
  codec: 'opus',
  sampleRate: RATE,
  numberOfChannels: 1,
  bitrate: BITRATE,
  opus: { frameDuration: FRAME_MS * 1000, application: 'voip', complexity: COMPLEXITY },
};
const decoding = { codec: 'opus', sampleRate: PLAYED_RATE, numberOfChannels: 1 };

export async function createEncoder(onPacket: (packet: Uint8Array) => void): Promise<Encoder> {
  if (typeof AudioEncoder !== 'undefined' && (await AudioEncoder.isConfigSupported(encoding as AudioEncoderConfig).catch(() => null))?.supported) {
    return new CodecEncoder(onPacket);
  }
  const { Application, createEncoder: create } = await import('libopus-wasm');
  const libopus = await create({ sampleRate: RATE, channels: 1, frameSize: FRAME, application: Application.Voip, bitrate: BITRATE, complexity: COMPLEXITY });
  return { encode: (frame) => onPacket(libopus.encodeFloat(frame)), close: () => libopus.free() };
}

class CodecEncoder implements Encoder {
  private readonly encoder: AudioEncoder;
  private timestamp = 0;

  constructor(onPacket: (packet: Uint8Array) => void) {
    this.encoder = new AudioEncoder({
      output(chunk) {
        const packet = new Uint8Array(chunk.byteLength);
        chunk.copyTo(packet);
        onPacket(packet);
      },
      error: (error) => console.warn('the microphone could not be encoded', error),
    });
    this.encoder.configure(encoding as AudioEncoderConfig);
  }

  encode(frame: Float32Array<ArrayBuffer>): void {
    if (this.encoder.state !== 'configured') return;
    const data = new AudioData({ format: 'f32', sampleRate: RATE, numberOfChannels: 1, numberOfFrames: frame.length, timestamp: this.timestamp, data: frame });
    this.timestamp += FRAME_MS * 1000;
    this.encoder.encode(data);
    data.close();
  }

  close(): void {
    if (this.encoder.state !== 'closed') this.encoder.close();
  }
}

export async function createDecoder(onSamples: (samples: Float32Array<ArrayBuffer>) => void): Promise<Decoder> {
  if (typeof AudioDecoder !== 'undefined' && (await AudioDecoder.isConfigSupported(decoding).catch(() => null))?.supported) {
    return new CodecDecoder(onSamples);
  }
  const { createDecoder: create } = await import('libopus-wasm');
  const libopus = await create({ sampleRate: PLAYED_RATE, channels: 1 });
  return {
    decode(packet) {
      try {
        onSamples(Float32Array.from(libopus.decodeFloat(packet)));
      } catch (error) {
        console.warn('a packet could not be decoded', error);
      }
    },
    // Each packet is decoded at once: nothing is under way.
    reset: () => undefined,
    flush: () => Promise.resolve(),
    close: () => libopus.free(),
  };
}

class CodecDecoder implements Decoder {
  private decoder: AudioDecoder | null = null;
  private timestamp = 0;

  constructor(private readonly onSamples: (samples: Float32Array<ArrayBuffer>) => void) {
    this.reset();
  }

  decode(packet: Uint8Array<ArrayBuffer>): void {
    if (this.decoder?.state !== 'configured') this.reset();
    this.decoder?.decode(new EncodedAudioChunk({ type: 'key', timestamp: this.timestamp, data: packet }));
    this.timestamp += FRAME_MS * 1000;
  }

  reset(): void {
    this.close();
    const decoder: AudioDecoder = new AudioDecoder({
      output: (data) => {
        const samples = new Float32Array(data.numberOfFrames);
        data.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
        data.close();
        if (this.decoder === decoder) this.onSamples(samples);
      },
      error: (error) => console.warn('a packet could not be decoded', error),
    });
    decoder.configure(decoding);
    this.decoder = decoder;
  }

  async flush(): Promise<void> {
    if (this.decoder?.state === 'configured') await this.decoder.flush().catch(() => undefined);
  }

  close(): void {
    const decoder = this.decoder;
    this.decoder = null;
    if (decoder && decoder.state !== 'closed') decoder.close();
  }
}
