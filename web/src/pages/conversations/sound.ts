/** Sound of a turn in the browser: decoding, the shape of the wave, and playing both sides one behind the other. */

/** Both sides of a turn. The user's recording ends as the answer begins: they follow each other. */
export interface Side {
  side: 'user' | 'assistant';
  buffer: AudioBuffer;
  /** Where it begins on the turn's time line, in s. */
  from: number;
}

/** Raised for sound that this browser can't play, such as Ogg Opus in an old Safari. */
export class NotPlayable extends Error {}

const RATE = 48_000;

/** Decodes a file. Raises NotPlayable. */
export async function decode(file: ArrayBuffer): Promise<AudioBuffer> {
  try {
    return await new OfflineAudioContext(1, 1, RATE).decodeAudioData(file);
  } catch {
    throw new NotPlayable();
  }
}

/** Puts the sides behind each other. */
export function inOrder(user: AudioBuffer | null, assistant: AudioBuffer | null): Side[] {
  const sides: Side[] = [];
  if (user) sides.push({ side: 'user', buffer: user, from: 0 });
  if (assistant) sides.push({ side: 'assistant', buffer: assistant, from: user?.duration ?? 0 });
  return sides;
}

/** The loudest sample of each of `bins` equal parts, 0 to 1. */
export function peaks(samples: Float32Array, bins: number): number[] {
  const size = samples.length / bins;
  return Array.from({ length: bins }, (_, bin) => {
    let most = 0;
    const end = Math.min(samples.length, Math.ceil((bin + 1) * size));
    for (let at = Math.floor(bin * size); at < end; at += 1) most = Math.max(most, Math.abs(samples[at]!));
    return most;
  });
}

/** The outline of a wave, mirrored at the middle, as the path of an SVG `bins` wide and 2 high. */
export function outline(levels: readonly number[]): string {
  const loudest = Math.max(0.05, ...levels);
  const height = (level: number) => Math.max(0.03, Math.sqrt(level / loudest) * 0.96);
  const up = levels.map((level, at) => `${at + 0.5},${(1 - height(level)).toFixed(3)}`);
  const down = levels.map((level, at) => `${at + 0.5},${(1 + height(level)).toFixed(3)}`).reverse();
  return `M0,1L${up.join('L')}L${levels.length},1L${down.join('L')}Z`;
}

/** Plays the sides; one at a time in the whole page. */
export class Playing {
  static #context: AudioContext | undefined;
  static #now: Playing | undefined;
  #nodes: AudioBufferSourceNode[] = [];
  #began = 0;
  #from = 0;

  constructor(
    private readonly sides: readonly Side[],
    private readonly stopped: () => void,
  ) {}

  /** Begins at `from` s on the time line. */
  start(from: number): void {
    if (Playing.#now && Playing.#now !== this) Playing.#now.stop();
    this.#clear();
    const context = (Playing.#context ??= new AudioContext());
    void context.resume();
    Playing.#now = this;
    this.#from = from;
    this.#began = context.currentTime + 0.03;
    for (const { buffer, from: begins } of this.sides) {
      if (begins + buffer.duration <= from) continue;
      const node = context.createBufferSource();
      node.buffer = buffer;
      node.connect(context.destination);
      node.start(this.#began + Math.max(0, begins - from), Math.max(0, from - begins));
      this.#nodes.push(node);
    }
  }

  /** The place on the time line, in s. */
  get position(): number {
    const context = Playing.#context;
    return this.#nodes.length && context ? this.#from + Math.max(0, context.currentTime - this.#began) : this.#from;
  }

  /** Stops; `stopped` is called. */
  stop(): void {
    this.#from = this.position;
    this.#clear();
    if (Playing.#now === this) Playing.#now = undefined;
    this.stopped();
  }

  #clear(): void {
    for (const node of this.#nodes) {
      node.stop();
      node.disconnect();
    }
    this.#nodes = [];
  }
}
