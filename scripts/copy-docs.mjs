import { copyFileSync, cpSync, mkdirSync } from 'node:fs';
import { DOCUMENTS } from '../packages/server/dist/providers/docs/sections.js';

// The docs provider answers from these; in a published package there is no repository to read.
const root = new URL('../', import.meta.url);
const target = new URL('packages/server/docs/', root);
mkdirSync(target, { recursive: true });
for (const [name, path] of Object.entries(DOCUMENTS)) {
  copyFileSync(new URL(path, root), new URL(name, target));
}

// npm packs a LICENSE only from the package's own folder.
for (const name of ['protocol', 'server', 'client']) {
  copyFileSync(new URL('LICENSE', root), new URL(`packages/${name}/LICENSE`, root));
}

// The server reads its scripts for Redis beside its code.
const scripts = 'deliver/redis/scripts/';
const packageRoot = new URL('packages/server/', root);
cpSync(new URL(`src/${scripts}`, packageRoot), new URL(`dist/${scripts}`, packageRoot), {
  recursive: true,
});
