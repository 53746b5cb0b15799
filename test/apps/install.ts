import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** The longest that one command of an app may take. */
const COMMAND_MS = 300_000;
/** The addresses of a server in the documentation's snippets. */
const EXAMPLE_URL = /https:\/\/(chat|answers)\.example/g;

const execute = promisify(execFile);

/** Packs each package as npm would. @returns the path of the tarball by the name of the package. */
export async function packAll(folder: string): Promise<Map<string, string>> {
  await mkdir(folder, { recursive: true });
  const workspaces = ['protocol', 'server', 'client'].flatMap((name) => ['-w', `packages/${name}`]);
  const args = ['pack', ...workspaces, '--json', '--pack-destination', folder];
  const { stdout } = await execute('npm', args, { cwd: ROOT, maxBuffer: 1e8 });
  const packed = JSON.parse(stdout) as { name: string; filename: string }[];
  return new Map(packed.map(({ name, filename }) => [name, join(folder, filename)]));
}

export interface Installed {
  folder: string;
  /** Runs an npm script to its end. Rejects with its output if it fails. */
  run: (script: string) => Promise<void>;
  /** The environment in which `npm` and `node` are of the app's Node.js. */
  env: Record<string, string>;
  versionOf: (name: string) => Promise<string>;
}

/**
 * Copies the app of `test/apps` into `folder`, with the tarballs in the place of our packages and `url` in the place
 * of the documentation's, and installs it.
 */
export async function installApp(
  app: { name: string; node: '20' | '24' },
  folder: string,
  tarballs: ReadonlyMap<string, string>,
  url: string,
): Promise<Installed> {
  await cp(join(ROOT, 'test/apps', app.name), folder, { recursive: true });
  for (const name of await readdir(folder, { recursive: true })) {
    if (!/\.(ts|tsx|vue|svelte|js|mjs)$/.test(name)) continue;
    const path = join(folder, name);
    await writeFile(path, (await readFile(path, 'utf8')).replaceAll(EXAMPLE_URL, url));
  }
  const manifestPath = join(folder, 'package.json');
  const manifest = JSON.parse(await readFile(manifestPath, 'utf8')) as {
    dependencies: Record<string, string>;
  };
  // The registry has none of our packages, so npm has to be given also what they need of each other.
  if ('@rivulet/client' in manifest.dependencies || '@rivulet/server' in manifest.dependencies)
    manifest.dependencies['@rivulet/protocol'] = '';
  for (const [name, path] of tarballs) {
    if (name in manifest.dependencies) manifest.dependencies[name] = `file:${path}`;
  }
  await writeFile(manifestPath, JSON.stringify(manifest, null, 2));

  const env = {
    PATH: [nodeFolder(app.node), process.env['PATH']].join(delimiter),
    NEXT_TELEMETRY_DISABLED: '1',
    NUXT_TELEMETRY_DISABLED: '1',
    NODE_OPTIONS: '',
    CI: '1',
  };
  const npm = async (...args: string[]): Promise<void> => {
    try {
      await execute('npm', args, {
        cwd: folder,
        env: { ...process.env, ...env },
        timeout: COMMAND_MS,
        maxBuffer: 1e8,
      });
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
      throw new Error(`\`npm ${args.join(' ')}\` failed:\n${stdout}${stderr}`.trim(), {
        cause: error,
      });
    }
  };
  await npm('install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error');
  return {
    folder,
    env,
    run: (script) => npm('run', script),
    async versionOf(name) {
      const path = join(folder, 'node_modules', name, 'package.json');
      return (JSON.parse(await readFile(path, 'utf8')) as { version: string }).version;
    },
  };
}

/** @returns the folder of the binary of a Node.js. */
export function nodeFolder(major: '20' | '24'): string {
  const folder = process.env[`NODE_${major}_FOLDER`];
  if (folder === undefined) throw new Error('unable to test apps: run `npm run test:apps`');
  return folder;
}
