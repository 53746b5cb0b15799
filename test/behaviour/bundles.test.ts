import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

const DEMO = fileURLToPath(new URL('../../demo', import.meta.url));

/** The files of the client that a page's bundle has anything of. */
async function bundled(contents: string): Promise<string[]> {
  const { metafile } = await build({
    stdin: { contents, resolveDir: DEMO },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    conditions: ['@rivulet/source', 'production'],
    external: ['react', 'vue', 'svelte', '@angular/core', 'solid-js'],
  });
  return Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs)
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([path]) => path),
  );
}

const BINDINGS = [
  ['react', 'useAnswer', 'useChat'],
  ['vue', 'useAnswer', 'useChat'],
  ['svelte', 'createAnswer', 'createChat'],
  ['angular', 'injectAnswer', 'injectChat'],
  ['solid', 'createAnswer', 'createChat'],
] as const;

const isOfChats = (path: string): boolean => /src\/chat\/|chat-controller/.test(path);
const isOfBindings = (path: string): boolean => path.includes('src/bindings/');

describe('a bundle', () => {
  it('of createClient has neither chats nor bindings', async () => {
    const paths = await bundled("export { createClient } from '@rivulet/client'");
    expect(paths.filter((path) => isOfChats(path) || isOfBindings(path))).toEqual([]);
  });

  it.each(BINDINGS)('of %s has chats only if it uses them', async (name, forAnswer, forChat) => {
    const from = (used: string): string => `export { ${used} } from '@rivulet/client/${name}'`;
    expect((await bundled(from(forAnswer))).filter(isOfChats)).toEqual([]);
    const ofChat = await bundled(from(forChat));
    expect(ofChat.filter(isOfChats)).not.toEqual([]);
    expect(ofChat.filter((path) => path.includes('answer-controller'))).toEqual([]);
  });
});
