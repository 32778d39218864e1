import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Plugin } from 'vite';

/** A package whose code is in the built app; a page of the app shows them. */
interface Package {
  name: string;
  version: string;
  licence: string;
  homepage: string | null;
  text: string;
}

/** The folder of the package that a module is of. */
function folderOf(id: string): string | null {
  const path = id.replace(/^\0/, '').split('?')[0]!;
  const at = path.lastIndexOf('/node_modules/');
  if (at < 0) return null;
  const parts = path.slice(at + '/node_modules/'.length).split('/');
  const name = parts[0]!.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]!;
  return join(path.slice(0, at), 'node_modules', name);
}

function packageIn(folder: string): Package | null {
  if (!existsSync(join(folder, 'package.json'))) return null;
  const told = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, unknown>;
  const licence = told.license as string | { type?: string } | undefined;
  const repository = told.repository as string | { url?: string } | undefined;
  const link = (told.homepage as string | undefined) ?? (typeof repository === 'string' ? repository : repository?.url) ?? '';
  const homepage = link.replace(/^git\+/, '').replace(/^git:/, 'https:').replace(/\.git$/, '');
  const file = readdirSync(folder).find((name) => /^(licen[cs]e|copying)/i.test(name));
  const text = file ? readFileSync(join(folder, file), 'utf8').trim() : '';
  return {
    name: String(told.name),
    version: String(told.version),
    // Some tell it by their text alone.
    licence: typeof licence === 'string' ? licence : (licence?.type ?? /^(?:The )?(MIT|ISC|Apache) License/i.exec(text)?.[1] ?? ''),
    homepage: /^https?:\/\//.test(homepage) ? homepage : null,
    text,
  };
}

/** Writes `licences.json`, with the packages whose modules are really in the bundle. */
export function licences(): Plugin {
  return {
    name: 'licences',
    apply: 'build',
    generateBundle(_, bundle) {
      const folders = new Set<string>();
      for (const part of Object.values(bundle)) {
        if (part.type !== 'chunk') continue;
        for (const id of part.moduleIds) {
          const folder = folderOf(id);
          if (folder && dirname(folder)) folders.add(folder);
        }
      }
      const found = [...folders].map(packageIn).filter((each) => each !== null);
      found.sort((one, other) => (one.name < other.name ? -1 : 1));
      this.emitFile({ type: 'asset', fileName: 'licences.json', source: JSON.stringify(found) });
    },
  };
}
