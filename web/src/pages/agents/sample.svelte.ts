/** Samples of voices, heard in the browser: one at a time. */
import { get, problemText } from '~/api';
import { tell } from '~/lib/toasts.svelte';

export interface Wish {
  agent: string;
  language: string;
  voice: string;
  speed: number | null;
}

/** A greeting in languages that voices speak; in others the agent's own is said. */
const SENTENCES: Record<string, string> = {
  ar: 'مرحبا! كيف يمكنني مساعدتك؟',
  de: 'Hallo! Wie kann ich dir helfen?',
  en: 'Hello! How can I help you?',
  es: '¡Hola! ¿En qué puedo ayudarte?',
  fr: 'Bonjour ! Comment puis-je vous aider ?',
  hi: 'नमस्ते! मैं आपकी क्या मदद कर सकता हूँ?',
  id: 'Halo! Ada yang bisa saya bantu?',
  it: 'Ciao! Come posso aiutarti?',
  ja: 'こんにちは。何かお手伝いしましょうか。',
  ko: '안녕하세요! 무엇을 도와드릴까요?',
  nl: 'Hallo! Waarmee kan ik helpen?',
  pl: 'Cześć! W czym mogę pomóc?',
  pt: 'Olá! Como posso ajudar?',
  ru: 'Здравствуйте! Чем могу помочь?',
  th: 'สวัสดี มีอะไรให้ช่วยไหม',
  tr: 'Merhaba! Nasıl yardımcı olabilirim?',
  uk: 'Привіт! Чим можу допомогти?',
  vi: 'Xin chào! Tôi có thể giúp gì cho bạn?',
  zh: '你好！有什么可以帮你的吗？',
};

const state = $state<{ id: string; is: 'idle' | 'waiting' | 'playing' }>({ id: '', is: 'idle' });
let audio: HTMLAudioElement | undefined;
let asked: AbortController | undefined;

/** The sample that is asked for or heard; reactive. */
export function sample(): Readonly<{ id: string; is: 'idle' | 'waiting' | 'playing' }> {
  return state;
}

/** Ends the sample. */
export function silence(): void {
  asked?.abort();
  audio?.pause();
  audio = undefined;
  Object.assign(state, { id: '', is: 'idle' });
}

/** Says a sentence by a voice; a second call for the same `id` ends it. */
export async function hear(id: string, wish: Wish, fallback: string): Promise<void> {
  const again = state.id === id && state.is !== 'idle';
  silence();
  if (again) return;
  Object.assign(state, { id, is: 'waiting' });
  asked = new AbortController();
  try {
    const text = (SENTENCES[wish.language.split('-')[0]!.toLowerCase()] ?? fallback) || SENTENCES.en!;
    const response = await get('/voices/sample', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ text: text.slice(0, 300), ...wish }),
      signal: asked.signal,
    });
    const url = URL.createObjectURL(await response.blob());
    const player = new Audio(url);
    audio = player;
    player.addEventListener('ended', () => audio === player && silence());
    player.addEventListener('pause', () => URL.revokeObjectURL(url), { once: true });
    await player.play();
    state.is = 'playing';
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') return;
    silence();
    tell(problemText(error), 'bad');
  }
}
