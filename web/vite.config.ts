import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';
import { licences } from './licences.ts';

/** `scripts/web` moves it into the Python package. */
const built = fileURLToPath(new URL('build/app', import.meta.url));

/** Puts a `.br` and a `.gz` beside each text file, so that the server compresses nothing by itself. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    closeBundle() {
      for (const name of readdirSync(built, { recursive: true, encoding: 'utf8' })) {
        const path = join(built, name);
        if (!/\.(js|css|html|svg|json|webmanifest|wasm)$/.test(name) || statSync(path).size < 512) continue;
        const bytes = readFileSync(path);
        writeFileSync(`${path}.br`, brotliCompressSync(bytes));
        writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
      }
    },
  };
}

/** Writes the files that the start page names into the service worker, which keeps them for the next start. */
function precached(): Plugin {
  return {
    name: 'precached',
    apply: 'build',
    closeBundle() {
      const page = readFileSync(join(built, 'index.html'), 'utf8');
      const files = readdirSync(join(built, 'assets')).filter((name) => page.includes(`/assets/${name}"`)).sort();
      const path = join(built, 'sw.js');
      const worker = readFileSync(path, 'utf8');
      writeFileSync(path, worker.replace('/* files */', files.map((name) => JSON.stringify(`/assets/${name}`)).join(',')));
    },
  };
}

/** What Home needs before it shows anything, in bytes as they are sent: what a slow phone waits for. */
const MOST_AT_FIRST = 150_000;
const AT_FIRST = /\/src\/(pages\/(home|problems)|shell|components)\/(Home\.svelte|messages\/en\.json)$/;

/** Ends the build when the first load has grown beyond its bound. */
function bounded(): Plugin {
  return {
    name: 'bounded',
    apply: 'build',
    writeBundle(_, bundle) {
      const needed = new Set<string>();
      const need = (name: string) => {
        const part = bundle[name];
        if (part === undefined || needed.has(name)) return;
        needed.add(name);
        if (part.type !== 'chunk') return;
        for (const each of [...part.imports, ...(part.viteMetadata?.importedCss ?? [])]) need(each);
      };
      for (const part of Object.values(bundle)) {
        if (part.type === 'chunk' && (part.isEntry || AT_FIRST.test(part.facadeModuleId ?? ''))) need(part.fileName);
      }
      const sent = [...needed].reduce((sum, name) => sum + brotliCompressSync(readFileSync(join(built, name))).length, 0);
      if (sent > MOST_AT_FIRST) {
        this.error(`the first load is ${sent} bytes, compressed, and ${MOST_AT_FIRST} is the most: load what Home does not need on use`);
      }
    },
  };
}

export default defineConfig({
  plugins: [svelte(), licences(), bounded(), precached(), compressed()],
  resolve: { alias: { '~': fileURLToPath(new URL('src', import.meta.url)) } },
  build: {
    outDir: built,
    emptyOutDir: true,
    target: 'es2022',
    // The policy of the page allows no data: scripts, and small files are cheap on one connection.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        // What most pages share, in few files: over a slow network each further one costs more than its bytes.
        codeSplitting: {
          groups: [
            { name: 'icons', test: /node_modules\/@lucide\//, minShareCount: 1 },
            { name: 'libraries', test: /node_modules\/(?!@lucide\/)/, minShareCount: 4 },
            { name: 'shared', test: /\/src\/(components|shell|lib|api|i18n|live)\/(?!.*messages\/)/, minShareCount: 4 },
          ],
        },
      },
    },
  },
  server: {
    // `npm run dev` beside a server on its usual port.
    proxy: Object.fromEntries(
      ['/api', '/openapi.json', '/docs', '/login', '/xiaozhi', '/healthz'].map((path) => [
        path,
        { target: 'http://127.0.0.1:8003', ws: true },
      ]),
    ),
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
