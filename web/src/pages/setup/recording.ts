/** A short recording by the microphone as WAV: 16 bits, mono, 16 kHz. */
const RATE = 16_000;

/** True where the browser lets this page use the microphone: localhost, or an HTTPS name. */
export function canRecord(): boolean {
  return window.isSecureContext && 'mediaDevices' in navigator && 'MediaRecorder' in window;
}

/** Records for `ms`. Raises what the browser does when the person refuses. */
export async function record(ms: number): Promise<Blob> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, noiseSuppression: true } });
  try {
    const recorder = new MediaRecorder(stream);
    const parts: Blob[] = [];
    recorder.addEventListener('dataavailable', (event) => parts.push(event.data));
    const over = new Promise<void>((resolve) => recorder.addEventListener('stop', () => resolve(), { once: true }));
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, ms));
    recorder.stop();
    await over;
    return await asWav(new Blob(parts, { type: recorder.mimeType }));
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}

async function asWav(recorded: Blob): Promise<Blob> {
  // A context of that rate has what it decodes in that rate.
  const context = new OfflineAudioContext(1, 1, RATE);
  const sound = await context.decodeAudioData(await recorded.arrayBuffer());
  return new Blob([wav(sound.getChannelData(0), RATE)], { type: 'audio/wav' });
}

/** A WAV file of these samples from -1 to 1. */
export function wav(samples: Float32Array, rate: number): ArrayBuffer {
  const bytes = new ArrayBuffer(44 + 2 * samples.length);
  const view = new DataView(bytes);
  const word = (at: number, text: string) => [...text].forEach((each, index) => view.setUint8(at + index, each.charCodeAt(0)));
  word(0, 'RIFF');
  view.setUint32(4, 36 + 2 * samples.length, true);
  word(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  word(36, 'data');
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, index) => view.setInt16(44 + 2 * index, Math.max(-1, Math.min(1, sample)) * 32_767, true));
  return bytes;
}
