/** The loudness of what goes through an analyser, from 0 (silence) to 1 (as loud as it gets), by decibels. */
const FLOOR_DB = -60;

export class Level {
  private readonly samples: Float32Array<ArrayBuffer>;

  constructor(private readonly analyser: AnalyserNode) {
    analyser.fftSize = 1024;
    this.samples = new Float32Array(analyser.fftSize);
  }

  read(): number {
    this.analyser.getFloatTimeDomainData(this.samples);
    let sum = 0;
    for (const sample of this.samples) sum += sample * sample;
    return share(Math.sqrt(sum / this.samples.length));
  }
}

export function share(rms: number): number {
  if (rms <= 0) return 0;
  return Math.min(1, Math.max(0, 1 - (20 * Math.log10(rms)) / FLOOR_DB));
}
