import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const ROOT = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');

interface Manifest {
  name: string;
  version: string;
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  repository?: { url: string };
}

const readManifest = (path: string): Manifest => JSON.parse(read(path)) as Manifest;
const MANIFESTS = ['protocol', 'server', 'client'].map((name) =>
  readManifest(`packages/${name}/package.json`),
);

interface Workflow {
  on: Record<string, unknown>;
  permissions: Record<string, string>;
  jobs: Record<string, { 'timeout-minutes': number; steps: { uses?: string; run?: string }[] }>;
}

describe.each(readdirSync(new URL('.github/workflows', ROOT)))('the workflow %s', (file) => {
  const text = read(`.github/workflows/${file}`);
  const workflow = parse(text) as Workflow;
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);

  it('has events, a time limit for each job, and may write nothing by default', () => {
    expect(Object.keys(workflow.on)).not.toEqual([]);
    expect(Object.values(workflow.permissions)).toEqual(['read']);
    for (const job of Object.values(workflow.jobs)) expect(job['timeout-minutes']).toBeLessThan(61);
  });

  it('runs only npm scripts and files that are there', () => {
    const { scripts = {} } = readManifest('package.json');
    const commands = steps.flatMap(({ run }) => run ?? []).join('\n');
    const named = [...commands.matchAll(/npm (?:run )?(test|(?<=run )[\w:]+)/g)];
    expect(named.map(([, name]) => name!).filter((name) => !(name in scripts))).toEqual([]);
    for (const [, path] of commands.matchAll(/node (\S+\.mjs)/g)) {
      expect(() => read(path!)).not.toThrow();
    }
  });

  it('pins each action to a commit, and names its version', () => {
    const lines = text.split('\n').filter((line) => line.includes('uses:'));
    expect(lines).toHaveLength(steps.filter(({ uses }) => uses !== undefined).length);
    for (const line of lines) expect(line).toMatch(/uses: [\w/-]+@[\da-f]{40} # v\d+\.\d+\.\d+$/);
  });
});

/** The oldest versions that an installation of our packages may have. */
const FLOORS: Record<string, string> = { 'socket.io-parser': '4.2.7', 'engine.io': '6.6.10' };

describe.each(Object.entries(FLOORS))('%s', (name, floor) => {
  it(`is at least ${floor} in package-lock.json`, () => {
    const { packages } = JSON.parse(read('package-lock.json')) as {
      packages: Record<string, Manifest>;
    };
    const versions = Object.entries(packages)
      .filter(([path]) => path.endsWith(`node_modules/${name}`))
      .map(([, { version }]) => version);
    expect(versions).not.toEqual([]);
    expect(versions.filter((version) => isBelow(version, floor))).toEqual([]);
  });

  it('is at least that for a user, too', () => {
    const ranges = MANIFESTS.flatMap(({ dependencies }) => dependencies?.[name] ?? []);
    expect(ranges).not.toEqual([]);
    expect(ranges.filter((range) => isBelow(range.replace(/^[~^]/, ''), floor))).toEqual([]);
  });

  it('is a dependency of each package that depends on Socket.IO, whose own ranges go lower', () => {
    const dependants = MANIFESTS.filter(
      ({ dependencies = {} }) =>
        'socket.io' in dependencies ||
        (name === 'socket.io-parser' && 'engine.io-client' in dependencies),
    );
    expect(dependants).not.toEqual([]);
    for (const { dependencies } of dependants) expect(dependencies).toHaveProperty([name]);
  });
});

function isBelow(version: string, floor: string): boolean {
  const numbers = version.split('.').map(Number);
  expect(numbers).toHaveLength(3);
  const at = floor.split('.').findIndex((part, i) => Number(part) !== numbers[i]);
  return at !== -1 && numbers[at]! < Number(floor.split('.')[at]);
}

describe('a release', () => {
  const repository = { url: 'git+https://git.example/rivulet.git' };
  const ready = {
    isDryRun: false,
    env: { CI: 'true' } as Record<string, string>,
    changedFiles: '',
    manifests: MANIFESTS.map((manifest) => ({ ...manifest, repository })),
    changelog: `# Changelog\n\n## [${MANIFESTS[0]!.version}] - 2026-12-01\n`,
  };
  const problemsOf = async (
    change: Partial<typeof ready>,
  ): Promise<{ refusals: string[]; missing: string[] }> => {
    const { listProblems } = (await import(
      String(new URL('scripts/release-problems.mjs', ROOT))
    )) as {
      listProblems: (state: typeof ready) => { refusals: string[]; missing: string[] };
    };
    return listProblems({ ...ready, ...change });
  };

  it('goes on in CI, from a clean tree, with one version and a section of the changelog', async () => {
    expect(await problemsOf({})).toEqual({ refusals: [], missing: [] });
  });

  it.each([
    ['outside of CI', { env: {} }, 'provenance needs CI'],
    ['from a tree that is not clean', { changedFiles: ' M README.md\n' }, 'M README.md'],
    ['of several versions', { manifests: withVersion('9.9.9') }, 'is 9.9.9, but'],
    ['without a section of the changelog', { changelog: '# Changelog\n' }, 'has no section'],
    ['without a repository', { manifests: MANIFESTS as typeof ready.manifests }, 'no repository'],
  ])('is refused %s', async (_, change, reason) => {
    const { refusals } = await problemsOf(change);
    expect(refusals.join('\n')).toContain(reason);
  });

  it('that is a dry run goes on outside of CI, and says what is missing', async () => {
    const { refusals, missing } = await problemsOf({ isDryRun: true, env: {}, changelog: '' });
    expect(refusals).toEqual([]);
    expect(missing).toHaveLength(1);
  });

  function withVersion(version: string): typeof ready.manifests {
    return ready.manifests.map((manifest, i) => (i === 2 ? { ...manifest, version } : manifest));
  }
});
