/** Posting a picture with a question to where the server told the device to (device contract, section 6). */
import type { Vision } from './tools';

/** The server's answer, which is handed back as the tool's result. Raises Error. */
export async function postPhoto(vision: Vision, deviceId: string, question: string, photo: Blob): Promise<string> {
  const form = new FormData();
  form.append('question', question);
  form.append('file', photo, 'camera.jpg');
  // The same server by the way that this page has to it: names and ports may be others than a device is told.
  const told = new URL(vision.url, location.href);
  const response = await fetch(told.pathname + told.search, {
    method: 'POST',
    body: form,
    credentials: 'omit',
    headers: { 'Device-Id': deviceId, ...(vision.token ? { Authorization: `Bearer ${vision.token}` } : {}) },
  });
  if (!response.ok) throw new Error(`Failed to upload photo, status code: ${response.status}`);
  return await response.text();
}
