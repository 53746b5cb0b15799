import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
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
const VERSION = MANIFESTS[0]!.version;

interface Job {
  'timeout-minutes': number;
  needs?: string[];
  environment?: string;
  permissions?: Record<string, string>;
  steps: { uses?: string; run?: string }[];
}

interface Workflow {
  on: Record<string, unknown>;
  permissions: Record<string, string>;
  jobs: Record<string, Job>;
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

describe('Dependabot', () => {
  it('updates the packages of each package-lock.json that is checked, and the actions', () => {
    const { updates } = parse(read('.github/dependabot.yml')) as {
      updates: { 'package-ecosystem': string; directories?: string[] }[];
    };
    const [npm, actions] = updates;
    const [, checked] = /of \[(.+)\]\) check/.exec(read('scripts/lock.mjs'))!;
    const folders = [...checked!.matchAll(/'(.*?)\/?'/g)].map(([, folder]) => `/${folder}`);
    expect(npm!.directories!.toSorted()).toEqual(folders.toSorted());
    expect(actions).toMatchObject({ 'package-ecosystem': 'github-actions', directory: '/' });
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
    env: { CI: 'true', GITHUB_REF: `refs/tags/v${VERSION}` } as Record<string, string>,
    changedFiles: '',
    isOnMain: true,
    manifests: MANIFESTS.map((manifest) => ({ ...manifest, repository })),
    changelog: `# Changelog\n\n## [${VERSION}] - 2026-12-01\n`,
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

  it('goes on in CI, from a clean tree on main, where tag, packages and changelog have one version', async () => {
    expect(await problemsOf({})).toEqual({ refusals: [], missing: [] });
  });

  it.each([
    ['outside of CI', { env: {} }, 'provenance needs CI'],
    ['from a tree that is not clean', { changedFiles: ' M README.md\n' }, 'M README.md'],
    ['for the tag of another version', onRef('refs/tags/v9.9.9'), `push the tag v${VERSION}`],
    [
      'for a tag with more than the version',
      onRef(`refs/tags/v${VERSION}-1`),
      `push the tag v${VERSION}`,
    ],
    [
      'for a branch with the name of a tag',
      onRef(`refs/heads/v${VERSION}`),
      `push the tag v${VERSION}`,
    ],
    ['without a tag', { env: { CI: 'true' } }, `push the tag v${VERSION}`],
    ['of a commit that is not on main', { isOnMain: false }, 'not on main'],
    ['of several versions', { manifests: withVersion('9.9.9') }, 'is 9.9.9, but'],
    ['without a section of the changelog', { changelog: '# Changelog\n' }, 'has no section'],
    ['without a repository', { manifests: MANIFESTS as typeof ready.manifests }, 'no repository'],
  ])('is refused %s', async (_, change, reason) => {
    const { refusals } = await problemsOf(change);
    expect(refusals.join('\n')).toContain(reason);
  });

  it('that is a dry run goes on outside of CI and main, and says what is missing', async () => {
    const elsewhere = { isDryRun: true, env: {}, isOnMain: false };
    const { refusals, missing } = await problemsOf({ ...elsewhere, changelog: '' });
    expect(refusals).toEqual([]);
    expect(missing).toHaveLength(1);
  });

  function onRef(GITHUB_REF: string): Partial<typeof ready> {
    return { env: { CI: 'true', GITHUB_REF } };
  }

  function withVersion(version: string): typeof ready.manifests {
    return ready.manifests.map((manifest, i) => (i === 2 ? { ...manifest, version } : manifest));
  }
});

describe('the workflow of a release', () => {
  const { jobs } = parse(read('.github/workflows/release.yml')) as Workflow;
  const { publish, ...others } = jobs as { publish: Job };
  const [verify, send] = publish.steps.flatMap(({ run }) => run ?? []);
  const tarball = (name: string): string => `rivulet-${name}-${VERSION}.tgz`;

  it('publishes after the tests, what another job has packed, in the environment of npm', () => {
    expect(publish).toMatchObject({ needs: ['test', 'pack'], environment: 'npm' });
    const commands = (job: string): string[] => jobs[job]!.steps.flatMap(({ run }) => run ?? []);
    expect(commands('test')).toContain('npm test');
    expect(commands('pack')).toContain('npm run release');
  });

  it('lets only the job that publishes sign', () => {
    expect(publish.permissions).toEqual({ 'id-token': 'write' });
    for (const { permissions } of Object.values<Job>(others)) expect(permissions).toBeUndefined();
  });

  it('runs no code of the repository or of a dependency where it may sign', () => {
    const actions = publish.steps.flatMap(({ uses }) => uses?.split('@')[0] ?? []);
    expect(actions).toEqual(['actions/setup-node', 'actions/download-artifact']);
    const commands = `${verify}\n${send}`.match(/\b(?:npm|npx|node|sha256sum) \S+/g);
    expect(commands).toEqual(['sha256sum --check', 'npm view', 'npm publish']);
    expect(send).toContain('--provenance --access public --ignore-scripts');
  });

  it('publishes a package after those that it depends on', () => {
    expect(publishedBy([])).toEqual(['protocol', 'server', 'client'].map(tarball));
  });

  it('leaves out what is published already', () => {
    expect(publishedBy([`@rivulet/protocol@${VERSION}`])).toEqual(
      ['server', 'client'].map(tarball),
    );
  });

  it('stops before a package whose dependency was refused', () => {
    expect(publishedBy([], tarball('server'))).toEqual(['protocol', 'server'].map(tarball));
  });

  it('publishes nothing if a tarball is not the one that was packed', () => {
    const folder = temporaryFolder();
    const sum = createHash('sha256').update('packed').digest('hex');
    writeFileSync(join(folder, 'SHA256SUMS'), `${sum}  a.tgz\n`);
    const statuses = ['packed', 'changed'].map((content) => {
      writeFileSync(join(folder, 'a.tgz'), content);
      return runStep(verify!, folder).status;
    });
    expect(statuses).toEqual([0, 1]);
  });

  /** Runs the last step with an `npm` that has published `published`. @returns the tarballs that it was given. */
  function publishedBy(published: string[], refused = ''): string[] {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'bin'));
    const npm = `#!/bin/sh
if [ "$1" = view ]; then case " ${published.join(' ')} " in *" $2 "*) echo ${VERSION} ;; *) exit 1 ;; esac
else for last; do :; done; echo "$last" >> published; [ "$last" != "./${refused}" ]; fi
`;
    writeFileSync(join(folder, 'bin', 'npm'), npm, { mode: 0o755 });
    const PATH = [join(folder, 'bin'), process.env['PATH']].join(delimiter);
    const { status } = runStep(send!, folder, { PATH, GITHUB_REF_NAME: `v${VERSION}` });
    expect(status).toBe(refused === '' ? 0 : 1);
    const lines = readFileSync(join(folder, 'published'), 'utf8').trim().split('\n');
    return lines.map((path) => path.replace('./', ''));
  }

  /** Runs a step as GitHub Actions does. */
  function runStep(script: string, cwd: string, env: Record<string, string> = {}) {
    return spawnSync('bash', ['-e', '-c', script], { cwd, env: { ...process.env, ...env } });
  }

  function temporaryFolder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'rivulet-release-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    return folder;
  }
});
