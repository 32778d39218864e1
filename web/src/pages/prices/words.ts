/** The fields of a price, each with its words. */
import type { Api } from '~/api';
import { format, messages } from '~/i18n';

export const t = messages<typeof import('./messages/en.json')>('prices');

export type PriceFields = Api<'PriceSettings'>;
export type PriceField = keyof PriceFields;

export const FIELDS = [
  'input_per_million', 'output_per_million', 'audio_input_per_million', 'audio_output_per_million', 'per_minute', 'per_million_characters',
] as const satisfies readonly PriceField[];

/** The name of a field; its own for one that this page does not know. */
export function fieldName(field: string): string {
  return (FIELDS as readonly string[]).includes(field) ? t(`field-${field as (typeof FIELDS)[number]}`) : field;
}

/** An amount of money, in the one currency of all prices. */
export const money = (amount: number) => format.number(amount, { maximumFractionDigits: 6 });
/** What something came to. */
export const cost = (amount: number) => format.number(amount, { minimumFractionDigits: 2, maximumFractionDigits: amount > 0 && amount < 0.1 ? 4 : 2 });

/** The fields of a price that are set, in their order. */
export function setFields(prices: PriceFields): { field: PriceField; amount: number }[] {
  return FIELDS.flatMap((field) => {
    const amount = prices[field];
    return typeof amount === 'number' && amount > 0 ? [{ field, amount }] : [];
  });
}
