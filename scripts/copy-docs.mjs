import { copyFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { listDocuments, readDocument } from '../packages/server/dist/providers/docs/sections.js';

// The docs provider answers from these; in a published package there is no repository to read.
const root = new URL('../', import.meta.url);
const target = new URL('packages/server/docs/', root);
rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
for (const name of listDocuments().keys()) {
  writeFileSync(new URL(name, target), readDocument(name));
}
const dashboard = 'grafana-dashboard.json';
copyFileSync(new URL(`docs/${dashboard}`, root), new URL(dashboard, target));

// npm packs a LICENSE only from the package's own folder.
for (const name of ['protocol', 'server', 'client']) {
  copyFileSync(new URL('LICENSE', root), new URL(`packages/${name}/LICENSE`, root));
}

// The server reads its scripts for Redis beside its code.
const scripts = 'redis/scripts/';
const packageRoot = new URL('packages/server/', root);
cpSync(new URL(`src/${scripts}`, packageRoot), new URL(`dist/${scripts}`, packageRoot), {
  recursive: true,
});
