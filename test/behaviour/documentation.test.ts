import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile } from 'svelte/compiler';
import { describe, expect, it } from 'vitest';
import { compileScript, compileTemplate, parse } from 'vue/compiler-sfc';
import {
  listPages,
  listSnippets,
  readPage,
  type Snippet,
  typeErrors,
} from '../harness/snippets.js';
import { APPS } from '../apps/list.js';
import { SETTINGS } from '../../packages/server/src/settings/settings.js';
import { slugOf } from '../../packages/server/src/providers/docs/sections.js';

const ROOT = new URL('../../', import.meta.url);
const SNIPPETS = listSnippets();
const of = (...languages: string[]): Snippet[] =>
  SNIPPETS.filter(({ language }) => languages.includes(language));

describe('a snippet of the documentation', () => {
  it('in TypeScript has no type errors, nor has the script of a component', () => {
    const scripts = of('vue', 'svelte').map(({ code, ...snippet }) => ({
      ...snippet,
      code: [...code.matchAll(/<script[^>]*>\n(.*?)<\/script>/gs)]
        .map(([, script]) => script)
        .join('\n'),
    }));
    const checked = [...of('ts', 'tsx', 'js'), ...scripts];
    expect(typeErrors(checked)).toEqual([]);
    expect(checked.length).toBeGreaterThan(50);
    // It reads the types of five frameworks.
  }, 180_000);

  it('with a wrong name or a wrong type is found', () => {
    const wrong = [
      "import { creatClient } from '@rivulet/client';",
      'client.start({ question: 1 });',
      'const = 1;',
    ].map((code, line) => ({ place: `x.md:${line}`, language: line === 1 ? 'js' : 'ts', code }));
    const places = typeErrors(wrong).map((error) => error.split(': ', 1)[0]);
    expect(new Set(places)).toEqual(new Set(wrong.map(({ place }) => place)));
  });

  it.each(of('vue'))('for Vue compiles ($place)', ({ code }) => {
    const { descriptor, errors } = parse(code);
    const { bindings } = compileScript(descriptor, { id: 'x' });
    const { errors: templateErrors } = compileTemplate({
      id: 'x',
      filename: 'x.vue',
      source: descriptor.template?.content ?? '',
      ...(bindings && { compilerOptions: { bindingMetadata: bindings } }),
    });
    expect([...errors, ...templateErrors]).toEqual([]);
  });

  it.each(of('svelte'))('for Svelte compiles ($place)', ({ code }) => {
    expect(compile(code, { generate: 'client' }).warnings).toEqual([]);
  });

  it.each(of('json'))('in JSON can be read ($place)', ({ code }) => {
    expect(() => JSON.parse(code)).not.toThrow();
  });

  it.each(APPS.flatMap(({ name, shown }) => shown.map((file) => `${name}/${file}`)))(
    'is the file test/apps/%s, which is built and run',
    (path) => {
      const file = readPage(`test/apps/${path}`);
      expect(SNIPPETS.map(({ code }) => code.replace(/^\/\/ [\w.]+\n/, ''))).toContain(file);
    },
  );

  it('for a browser imports no file of its page by `.js`, which Next.js does not find', () => {
    const snippets = SNIPPETS.filter(
      ({ code }) => code.includes('@rivulet/client') && /from '\.\.?\/.*\.js'/.test(code),
    );
    expect(snippets.map(({ place }) => place)).toEqual([]);
  });

  it('names only npm scripts that are there', () => {
    const { scripts } = JSON.parse(readPage('package.json')) as { scripts: object };
    const pages = listPages().filter((path) => !path.endsWith('getting-started.md'));
    const named = pages.flatMap((path) =>
      [...readPage(path).matchAll(/npm run ([a-z][\w:]*)/g)].map(([, name]) => name),
    );
    expect(named.filter((name) => !Object.hasOwn(scripts, name!))).toEqual([]);
  });
});

describe('a link of the documentation', () => {
  const links = listPages().flatMap((path) =>
    [
      ...readPage(path)
        .replaceAll(/^```.*?^```/gms, '')
        .matchAll(/\]\(([^)\s]+)\)/g),
    ]
      .map(([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target))
      .map((target) => ({ path, target })),
  );

  it('leads to a file, and to a heading of it', () => {
    const dead = links.filter(({ path, target }) => {
      const [file = '', hash] = target.split('#');
      const linked = file === '' ? path : posix.join(posix.dirname(path), file);
      if (!existsSync(fileURLToPath(new URL(linked, ROOT)))) return true;
      return hash !== undefined && !headingsOf(linked).has(hash);
    });
    expect(dead).toEqual([]);
    expect(links.length).toBeGreaterThan(100);
  });

  it('of a package leads to no file outside of the package, because npm installs the package alone', () => {
    const outside = links.filter(
      ({ path, target }) => path.startsWith('packages/') && target.startsWith('..'),
    );
    expect(outside).toEqual([]);
  });
});

function headingsOf(path: string): Set<string> {
  const text = readPage(path).replaceAll(/^```.*?^```/gms, '');
  return new Set([...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, title]) => slugOf(title!)));
}

describe('the table of events in observability.md', () => {
  it('has each event that the server logs, and no other', () => {
    const folder = fileURLToPath(new URL('packages/server/src/', ROOT));
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const code = files
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(`${folder}${file}`, 'utf8'))
      .join('\n');
    const logged = [...code.matchAll(/(?:event[:=] |event = |logOnce\()'([A-Z_]+)'/g)];
    const events = new Set(logged.map(([, name]) => name!));
    expect(events.size).toBeGreaterThan(30);
    const [, table = ''] = /\n\| event \|(.*?)\n\n/s.exec(readPage('docs/observability.md'))!;
    const cells = [...table.matchAll(/^\| (`.*?) \|/gm)].map(([, cell = '']) => cell).join();
    const listed = [...cells.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name!);
    expect(listed.toSorted()).toEqual([...events].toSorted());
  });
});

describe('the table of limits in SECURITY.md', () => {
  const page = readPage('SECURITY.md');
  const rows = [...page.matchAll(/^\| .* \| .* \| .* \| (.*) \|$/gm)].slice(2);

  it('has each setting that is a limit', () => {
    const names = Object.values(SETTINGS).map(({ env }) => env);
    // LLM_MAX_TOKENS is a parameter of the model.
    const limits = names.filter((name) => /^(?!LLM_MAX_TOKENS)(.*_)?MAX_|_TIMEOUT_MS$/.test(name));
    expect(limits.length).toBeGreaterThan(15);
    expect(limits.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it('names a test for each limit', () => {
    expect(rows.length).toBeGreaterThan(20);
    const isFile = (cell: string): boolean => {
      const path = /^`(.*)`$/.exec(cell)?.[1];
      return path !== undefined && existsSync(new URL(path, ROOT));
    };
    expect(rows.filter(([, test = '']) => !isFile(test)).map(([row]) => row)).toEqual([]);
  });
});

describe('the table of folders in CONTRIBUTING.md', () => {
  it('names files that are in their folder', () => {
    const rows = [...readPage('CONTRIBUTING.md').matchAll(/^\| `([\w./-]+)` \| (.*) \|$/gm)].filter(
      ([, folder = '']) => existsSync(new URL(`${folder}/`, ROOT)),
    );
    expect(rows.length).toBeGreaterThan(10);
    const missing = rows.flatMap(([, folder = '', contents = '']) => {
      const files = readdirSync(new URL(`${folder}/`, ROOT), { recursive: true }).map(String);
      return [...contents.matchAll(/`([\w/-]+\.ts)`/g)]
        .map(([, name = '']) => name)
        .filter((name) => !files.some((file) => file === name || file.endsWith(`/${name}`)))
        .map((name) => `${folder}/${name}`);
    });
    expect(missing).toEqual([]);
  });
});
