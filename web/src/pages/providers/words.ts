/** Words of the providers' pages, and what is asked of the API there. */
import { api, unwrap, type Api } from '~/api';
import { messages } from '~/i18n';
import { lastDays } from '../statistics/lastDays';

export const t = messages<typeof import('./messages/en.json')>('providers');

export type Role = Api<'ProviderListing'>['role'];
export const ROLES: readonly Role[] = ['stt', 'llm', 'tts', 's2s', 'vad'];

const LABELS = {
  api_key: 'option-api_key', speech_key: 'option-api_key', base_url: 'option-address', url: 'option-address', stt_url: 'option-address', tts_url: 'option-address',
  stt_uri: 'option-address', tts_uri: 'option-address', speech_region: 'option-region', organization: 'option-organization', project: 'option-project',
  proxy: 'option-proxy', stt_model: 'option-model', llm_model: 'option-model', tts_model: 'option-model', model: 'option-model', tts_voice: 'option-voice',
  voice: 'option-voice', llm_temperature: 'option-temperature', temperature: 'option-temperature', stt_language: 'option-language',
  tts_instructions: 'option-instructions', llm_max_tokens: 'option-max-tokens', stt_prompt: 'option-words', stt_threads: 'option-threads', tts_threads: 'option-threads',
  api_version: 'option-api-version', stt_stream: 'option-stream', stt_verbose: 'option-verbose', llm_reasoning_effort: 'option-effort', reasoning_effort: 'option-effort',
  llm_effort: 'option-effort', stt_thinking_level: 'option-thinking-level', llm_thinking_level: 'option-thinking-level', thinking_level: 'option-thinking-level',
  stt_thinking_budget: 'option-thinking-budget', llm_thinking_budget: 'option-thinking-budget', thinking_budget: 'option-thinking-budget', llm_vision: 'option-vision',
  llm_usage: 'option-usage', llm_extra: 'option-extra', tts_format: 'option-format', tts_sample_rate: 'option-sample-rate', languages: 'option-languages',
  stt_languages: 'option-languages', tts_languages: 'option-languages', stt_kind: 'option-kind', tts_kind: 'option-kind', tts_speaker: 'option-speaker', tts_steps: 'option-steps',
  stt_workers: 'option-workers', stt_endpointing_ms: 'option-endpointing', stt_hotwords: 'option-words',
} as const;

/** The name of an option; its own in words for one that has no other. */
export function optionName(option: string): string {
  if (option in LABELS) return t(LABELS[option as keyof typeof LABELS]);
  const words = option.replace(/^(stt|llm|tts)_/, '').replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The id of the problem that a failing provider is. */
export const problemId = (role: Role, name: string) => `provider.${role}.${name}`;

/** Sums of each provider over the last days, all pages of them. Raises ApiProblem. */
export async function usage(days: number, signal?: AbortSignal): Promise<Api<'Statistics'>[]> {
  const span = await lastDays(days, signal);
  const found: Api<'Statistics'>[] = [];
  let cursor: string | null | undefined;
  do {
    const page = await unwrap(api.GET('/statistics', { params: { query: { by: 'provider', ...span, limit: 200, cursor } }, signal }));
    found.push(...page.items);
    cursor = page.next;
  } while (cursor && found.length < 2000);
  return found;
}
