/** Short notes at the edge of the page, and actions that can be undone while their note is there. */
export type Tone = 'good' | 'bad' | 'info';

export interface Toast {
  id: number;
  text: string;
  tone: Tone;
  action?: { label: string; run: () => void };
  /** Called when it goes, by time or by its button. */
  gone?: () => void;
}

const UNDO_MS = 7000;
const SHOWN_MS = 5000;
let last = 0;
const state = $state<{ toasts: Toast[] }>({ toasts: [] });
const timers = new Map<number, ReturnType<typeof setTimeout>>();
const waiting = new Set<number>();
/** Those that are being done. */
const running = new Set<Promise<unknown>>();

/** Those that are shown; reactive. */
export function toasts(): readonly Toast[] {
  return state.toasts;
}

/** Takes one away. */
export function dismiss(id: number): void {
  const found = state.toasts.find((toast) => toast.id === id);
  clearTimeout(timers.get(id));
  timers.delete(id);
  state.toasts = state.toasts.filter((toast) => toast.id !== id);
  found?.gone?.();
}

function show(toast: Omit<Toast, 'id'>, ms: number): number {
  const id = ++last;
  state.toasts.push({ id, ...toast });
  timers.set(id, setTimeout(() => dismiss(id), ms));
  return id;
}

/** Shows a note. */
export function tell(text: string, tone: Tone = 'good'): void {
  show({ text, tone }, tone === 'bad' ? SHOWN_MS * 2 : SHOWN_MS);
}

/**
 * Does `commit` in a while unless the person undoes it; its promise resolves when it is done, failures told. The caller hides
 * what is concerned at once, and shows it again in `undo`. A page that is left commits at once.
 */
export function undoable(text: string, undoLabel: string, commit: () => Promise<unknown>, undo: () => void): void {
  let undone = false;
  const id: number = show(
    {
      text,
      tone: 'info',
      action: {
        label: undoLabel,
        run: () => {
          undone = true;
          undo();
          dismiss(id);
        },
      },
      gone: () => {
        waiting.delete(id);
        if (undone) return;
        const done: Promise<unknown> = commit().finally(() => running.delete(done));
        running.add(done);
      },
    },
    UNDO_MS,
  );
  waiting.add(id);
}

/** Does at once what can still be undone, as before the person is somebody else; resolves when all is done. */
export async function commitAll(): Promise<void> {
  for (const id of waiting) dismiss(id);
  await Promise.allSettled(running);
}

/** Undoes all that can be undone: nobody is signed in any more who could do it. */
export function undoAll(): void {
  for (const toast of state.toasts.filter((each) => waiting.has(each.id))) toast.action?.run();
}

if (typeof window !== 'undefined') {
  window.addEventListener('pagehide', () => void commitAll());
}
