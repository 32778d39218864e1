/** What of the set-up only this browser knows: tests that went well here, and the step that is open. */
export type Test = 'hear' | 'think' | 'speak' | 'network';
export type StepId = 'administrator' | 'device' | 'voice' | 'network' | 'talk';

interface Known {
  /** When each test went well the last time, in ms since 1970. */
  passed: Partial<Record<Test, number>>;
  open: StepId | null;
}

const STORED = 'setup';

function stored(): Known {
  try {
    const found = JSON.parse(localStorage.getItem(STORED) ?? '') as Partial<Known>;
    return { passed: typeof found.passed === 'object' && found.passed ? found.passed : {}, open: found.open ?? null };
  } catch {
    return { passed: {}, open: null };
  }
}

const state = $state<Known>(stored());

/** What this browser knows; reactive. */
export function known(): Readonly<Known> {
  return state;
}

function keep(): void {
  localStorage.setItem(STORED, JSON.stringify({ passed: state.passed, open: state.open }));
}

/** Takes note of how a test went. */
export function tested(test: Test, well: boolean): void {
  if (well) state.passed[test] = Date.now();
  else delete state.passed[test];
  keep();
}

/** Opens a step, or closes it. */
export function openStep(step: StepId | null): void {
  state.open = step;
  keep();
}
