/** Band-limited resampling of a stream from one rate to a lower or equal one: a windowed sinc, blocks of any size. */
const LOBES = 16;

export class Resampler {
  private kept: Float32Array;
  private at: number;
  private readonly step: number;
  private readonly cut: number;
  private readonly half: number;

  constructor(from: number, to: number) {
    this.step = from / to;
    // A little below half of the lower rate: what is above would come back as noise.
    this.cut = Math.min(1, to / from) * 0.94;
    this.half = from === to ? 0 : Math.ceil(LOBES / this.cut);
    this.kept = new Float32Array(2 * this.half);
    this.at = this.half;
  }

  /** The samples that follow from a block and what came before. */
  push(block: Float32Array): Float32Array {
    if (this.half === 0) return block;
    const input = new Float32Array(this.kept.length + block.length);
    input.set(this.kept);
    input.set(block, this.kept.length);
    const found: number[] = [];
    while (this.at + this.half < input.length) {
      found.push(this.sample(input, this.at));
      this.at += this.step;
    }
    const first = Math.min(input.length, Math.max(0, Math.floor(this.at) - this.half));
    this.kept = input.slice(first);
    this.at -= first;
    return Float32Array.from(found);
  }

  private sample(input: Float32Array, at: number): number {
    const middle = Math.floor(at);
    let sum = 0;
    for (let index = middle - this.half + 1; index <= middle + this.half; index += 1) {
      const x = at - index;
      const y = x * this.cut;
      const sinc = Math.abs(y) < 1e-9 ? 1 : Math.sin(Math.PI * y) / (Math.PI * y);
      // Hann window over the lobes.
      const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / this.half);
      sum += (input[index] ?? 0) * sinc * window;
    }
    return sum * this.cut;
  }
}
