/** The microphone: frames of 60 ms at 16 kHz, with the browser's echo cancelling and noise suppression. */
import captureUrl from './capture.worklet?worker&url';
import { Level } from './level';

/** Why there is no microphone. */
export type MicrophoneTrouble = 'insecure' | 'denied' | 'missing' | 'busy' | 'failed';

export class MicrophoneError extends Error {
  constructor(readonly trouble: MicrophoneTrouble) {
    super(trouble);
  }
}

/** True where a page may have a microphone or camera: on localhost, and by HTTPS. */
export function canRecord(): boolean {
  return window.isSecureContext && 'mediaDevices' in navigator && 'AudioWorkletNode' in window;
}

/** Why `getUserMedia` failed. */
export function troubleOf(error: unknown): MicrophoneTrouble {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError' || name === 'SecurityError') return 'denied';
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'missing';
  if (name === 'NotReadableError' || name === 'AbortError') return 'busy';
  return 'failed';
}

export class Microphone {
  private constructor(
    private readonly context: AudioContext,
    private readonly stream: MediaStream,
    private readonly meter: Level,
  ) {}

  /** Opens it. `onLost` is called when it is unplugged or taken away. Raises MicrophoneError. */
  static async open(onFrame: (frame: Float32Array<ArrayBuffer>) => void, onLost: () => void): Promise<Microphone> {
    if (!canRecord()) throw new MicrophoneError('insecure');
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      throw new MicrophoneError(troubleOf(error));
    }
    const context = new AudioContext({ latencyHint: 'interactive' });
    try {
      await context.audioWorklet.addModule(captureUrl);
      const source = context.createMediaStreamSource(stream);
      const capture = new AudioWorkletNode(context, 'capture', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
      capture.port.onmessage = (event: MessageEvent<Float32Array<ArrayBuffer>>) => onFrame(event.data);
      const analyser = context.createAnalyser();
      source.connect(capture);
      source.connect(analyser);
      stream.getAudioTracks()[0]?.addEventListener('ended', onLost);
      return new Microphone(context, stream, new Level(analyser));
    } catch {
      for (const track of stream.getTracks()) track.stop();
      void context.close();
      throw new MicrophoneError('failed');
    }
  }

  level(): number {
    return this.meter.read();
  }

  close(): void {
    for (const track of this.stream.getTracks()) track.stop();
    void this.context.close().catch(() => undefined);
  }
}
