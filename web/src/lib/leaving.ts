/** What is not saved yet on the page, and asks before it is lost. */
type Question = () => Promise<boolean>;
const questions = new Set<Question>();

/** Has `ask` asked before what it stands for is lost, until the returned function is called. For `$effect`. */
export function askBefore(ask: Question): () => void {
  questions.add(ask);
  return () => questions.delete(ask);
}

/** True when nothing is lost by leaving, or the person says to: one question after the other, up to the first no. */
export async function mayLeave(): Promise<boolean> {
  for (const ask of [...questions]) if (!(await ask())) return false;
  return true;
}
