/** Plays an answer as it comes: each piece at the end of the one before, behind a small buffer that evens the network out. */
import { Level } from './level';
import { PLAYED_RATE } from './opus';

/** Seconds that are kept ready before the first sound, and again after a gap. */
const LEAD_S = 0.12;
/** Seconds in which sound fades, so that it does not click. */
const FADE_S = 0.008;

export class Player {
  /** Times in which an answer ran dry. */
  gaps = 0;
  private readonly context: AudioContext;
  private readonly volume: GainNode;
  private readonly meter: Level;
  private answer: GainNode;
  private readonly playing = new Set<AudioBufferSourceNode>();
  private next = 0;
  private begun = false;
  private drained: (() => void) | null = null;

  constructor(volume: number) {
    this.context = new AudioContext({ sampleRate: PLAYED_RATE, latencyHint: 'interactive' });
    this.volume = this.context.createGain();
    this.setVolume(volume);
    const analyser = this.context.createAnalyser();
    this.meter = new Level(analyser);
    this.volume.connect(analyser);
    this.volume.connect(this.context.destination);
    this.answer = this.output();
  }

  private output(): GainNode {
    const gain = this.context.createGain();
    gain.connect(this.volume);
    return gain;
  }

  /** Lets sound be heard; browsers want it to be called by a click or key. */
  resume(): void {
    if (this.context.state === 'suspended') void this.context.resume();
  }

  /** From 0 to 100. */
  setVolume(volume: number): void {
    this.volume.gain.setTargetAtTime((volume / 100) ** 2, this.context.currentTime, 0.02);
  }

  /** The loudness of what is heard now. */
  level(): number {
    return this.playing.size > 0 ? this.meter.read() : 0;
  }

  /** An answer begins. */
  begin(): void {
    this.drained = null;
    this.begun = false;
    this.gaps = 0;
  }

  /** Adds samples to the answer. */
  push(samples: Float32Array<ArrayBuffer>): void {
    const now = this.context.currentTime;
    if (this.next < now + 0.005) {
      if (this.begun) this.gaps += 1;
      this.begun = true;
      this.next = Math.ceil((now + LEAD_S) * PLAYED_RATE) / PLAYED_RATE;
      const fade = Math.min(samples.length, Math.round(FADE_S * PLAYED_RATE));
      for (let at = 0; at < fade; at += 1) samples[at] = samples[at]! * (at / fade);
    }
    const buffer = this.context.createBuffer(1, samples.length, PLAYED_RATE);
    buffer.copyToChannel(samples, 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.answer);
    source.onended = () => {
      source.disconnect();
      this.playing.delete(source);
      if (this.playing.size === 0) this.tell();
    };
    this.playing.add(source);
    source.start(this.next);
    this.next += samples.length / PLAYED_RATE;
  }

  /** Calls `then` when all that came was heard. */
  finish(then: () => void): void {
    this.drained = then;
    if (this.playing.size === 0) this.tell();
  }

  private tell(): void {
    const then = this.drained;
    this.drained = null;
    then?.();
  }

  /** Silence, at once. */
  stop(): void {
    this.drained = null;
    this.next = 0;
    this.begun = false;
    const now = this.context.currentTime;
    this.answer.gain.setValueAtTime(1, now);
    this.answer.gain.linearRampToValueAtTime(0, now + FADE_S);
    for (const source of this.playing) {
      source.onended = () => source.disconnect();
      source.stop(now + FADE_S);
    }
    this.playing.clear();
    this.answer = this.output();
  }

  close(): void {
    void this.context.close().catch(() => undefined);
  }
}
