/** Saving as files what the page made, and what the server sends. */

/** Time for the browser to take the file over, in ms. */
const TAKEN_MS = 30_000;

/** Has the browser save `content` under `name`. */
export function saveFile(content: Blob, name: string): void {
  const address = URL.createObjectURL(content);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), TAKEN_MS);
}

/** Has the browser save the answer to a path below /api/v1, under the name that the server gives it. */
export function saveAnswer(path: string): void {
  const link = document.createElement('a');
  link.href = `/api/v1${path}`;
  link.download = '';
  link.click();
}
