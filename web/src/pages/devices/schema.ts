/**
 * Forms of a tool's arguments, made from its JSON schema. Devices take booleans, integers and strings alone; whatever else
 * a schema has is written as JSON.
 */
export type Kind = 'switch' | 'slider' | 'number' | 'choice' | 'text' | 'json';
export type Values = Record<string, string | boolean>;

export interface Argument {
  name: string;
  kind: Kind;
  required: boolean;
  description: string;
  minimum?: number;
  maximum?: number;
  whole: boolean;
  options: string[];
  initial: string | boolean;
}

/** What is wrong with the text of an argument, with the bound that it breaks. */
export type Wrong = { is: 'missing' | 'number' | 'whole' | 'json' | 'long' } | { is: 'low' | 'high'; bound: number };

type Schema = Record<string, unknown>;

/** Longest text that the server passes on to a device. */
const MAX_TEXT = 2000;
/** A wider range is typed, not dragged. */
const WIDEST_SLIDER = 1000;

const isObject = (value: unknown): value is Schema => typeof value === 'object' && value !== null && !Array.isArray(value);
const bound = (value: unknown): number | undefined => (typeof value === 'number' && Number.isFinite(value) ? value : undefined);

function written(value: unknown, kind: Kind): string | boolean {
  if (kind === 'switch') return value === true;
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The arguments of a tool, in the order of its schema; required ones first. */
export function argumentsOf(schema: Schema): Argument[] {
  const properties = isObject(schema.properties) ? schema.properties : {};
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  const found = Object.entries(properties).map(([name, given]): Argument => {
    const each = isObject(given) ? given : {};
    const minimum = bound(each.minimum);
    const maximum = bound(each.maximum);
    const options = Array.isArray(each.enum) && each.enum.every((option) => typeof option === 'string') ? (each.enum as string[]) : [];
    const numeric = each.type === 'integer' || each.type === 'number';
    let kind: Kind = 'json';
    if (each.type === 'boolean') kind = 'switch';
    else if (options.length) kind = 'choice';
    else if (numeric) kind = minimum !== undefined && maximum !== undefined && maximum > minimum && maximum - minimum <= WIDEST_SLIDER ? 'slider' : 'number';
    else if (each.type === 'string') kind = 'text';
    let initial = written(each.default, kind);
    if (kind === 'slider' && initial === '' && required.has(name)) initial = String(minimum);
    if (kind === 'choice' && initial === '' && required.has(name)) initial = options[0]!;
    return { name, kind, required: required.has(name), description: typeof each.description === 'string' ? each.description : '', minimum, maximum, whole: each.type === 'integer', options, initial };
  });
  return found.sort((a, b) => Number(b.required) - Number(a.required));
}

function read(argument: Argument, given: string | boolean): { value?: unknown; wrong?: Wrong } {
  if (argument.kind === 'switch') return { value: given === true };
  const text = String(given);
  if (text.trim() === '') return argument.required && argument.kind !== 'text' ? { wrong: { is: 'missing' } } : argument.required ? (text === '' ? { wrong: { is: 'missing' } } : { value: text }) : {};
  if (argument.kind === 'text' || argument.kind === 'choice') return text.length > MAX_TEXT ? { wrong: { is: 'long' } } : { value: text };
  if (argument.kind === 'json') {
    try {
      return { value: JSON.parse(text) as unknown };
    } catch {
      return { wrong: { is: 'json' } };
    }
  }
  const value = Number(text);
  if (!Number.isFinite(value)) return { wrong: { is: 'number' } };
  if (argument.whole && !Number.isSafeInteger(value)) return { wrong: { is: 'whole' } };
  if (argument.minimum !== undefined && value < argument.minimum) return { wrong: { is: 'low', bound: argument.minimum } };
  if (argument.maximum !== undefined && value > argument.maximum) return { wrong: { is: 'high', bound: argument.maximum } };
  return { value };
}

/** The arguments as the tool takes them, and what is wrong with which. An empty optional one is left out. */
export function readValues(args: readonly Argument[], values: Values): { value: Record<string, unknown>; wrong: Record<string, Wrong> } {
  const value: Record<string, unknown> = {};
  const wrong: Record<string, Wrong> = {};
  for (const argument of args) {
    const found = read(argument, values[argument.name] ?? argument.initial);
    if (found.wrong) wrong[argument.name] = found.wrong;
    else if (found.value !== undefined) value[argument.name] = found.value;
  }
  return { value, wrong };
}

/** JSON in a result, laid out; null for any other text. */
export function asJson(text: string): string | null {
  if (!/^\s*[[{]/.test(text)) return null;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}

/** The picture in a tool's result, as the device contract has it; null when there is none. */
export function asPicture(text: string): string | null {
  try {
    const found: unknown = JSON.parse(text);
    if (!isObject(found) || found.type !== 'image' || typeof found.image !== 'string') return null;
    return /^data:image\/(png|jpeg|webp);base64,[A-Za-z0-9+/=]+$/.test(found.image) ? found.image : null;
  } catch {
    return null;
  }
}
