/** An agent as a file: the body of `POST /agents`, so that a program can send it as it is. */
import type { Api } from '~/api';
import { saveFile } from '~/lib/files';
import { contentOf } from './form.svelte';

export interface AgentFile {
  key: string;
  settings: Record<string, unknown>;
}

const MAX_BYTES = 1_000_000;

/** Saves an agent as a file of this computer. */
export function download(agent: Api<'AgentOut'>): void {
  const file: AgentFile = { key: agent.key, settings: contentOf(agent) };
  saveFile(new Blob([JSON.stringify(file, null, 2), '\n'], { type: 'application/json' }), `agent-${agent.key}.json`);
}

/** The agent in a file; null for another file. */
export async function read(file: File): Promise<AgentFile | null> {
  if (file.size > MAX_BYTES) return null;
  try {
    const found: unknown = JSON.parse(await file.text());
    if (typeof found !== 'object' || found === null || !('key' in found) || !('settings' in found)) return null;
    const { key, settings } = found;
    if (typeof key !== 'string' || typeof settings !== 'object' || settings === null || Array.isArray(settings)) return null;
    return { key, settings: settings as Record<string, unknown> };
  } catch {
    return null;
  }
}
