/** Rows of statistics added up. Percentiles can't be: those of all are asked of the server. */
import type { Api } from '~/api';

export type Row = Api<'Statistics'>;

export interface Sums {
  turns: number;
  failed: number;
  minutes: number;
  cost: number;
  input: number;
  output: number;
  characters: number;
  errors: Record<string, number>;
}

/** Tokens in and out, of text and of audio. */
export const tokensOf = (row: Row) => ({ input: row.input_tokens + row.input_audio_tokens, output: row.output_tokens + row.output_audio_tokens });

export function sumsOf(rows: readonly Row[]): Sums {
  const sums: Sums = { turns: 0, failed: 0, minutes: 0, cost: 0, input: 0, output: 0, characters: 0, errors: {} };
  for (const row of rows) {
    const tokens = tokensOf(row);
    sums.turns += row.turns;
    sums.failed += row.failed;
    sums.minutes += row.minutes;
    sums.cost += row.cost;
    sums.input += tokens.input;
    sums.output += tokens.output;
    sums.characters += row.characters;
    for (const [kind, count] of Object.entries(row.errors)) sums.errors[kind] = (sums.errors[kind] ?? 0) + count;
  }
  return sums;
}
