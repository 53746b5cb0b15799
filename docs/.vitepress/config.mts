import { readdirSync, readFileSync } from 'node:fs';
import { defineConfig } from 'vitepress';

// The pages are copies that `npm run docs` makes: with the documents from outside of `docs/`, and links among them.
const pages = new URL('pages/', import.meta.url);

const SECTIONS: Record<string, readonly string[]> = {
  Begin: ['index', 'getting-started', 'demo', 'troubleshooting'],
  'In the browser': [
    'client',
    'frameworks',
    'bridges',
    'compatibility',
    'server-rendering',
    'rxjs',
    'chats',
    'caching',
    'reconnecting',
    'errors',
    'testing',
    'platforms',
  ],
  'On the server': ['server', 'server-options', 'providers', 'tools', 'hooks'],
  'In production': ['deployment', 'scaling', 'observability', 'security', 'benchmarks'],
  'For implementers': ['PROTOCOL', 'CONTRIBUTING', 'SECURITY-POLICY', 'CHANGELOG'],
};

export default defineConfig({
  title: 'Rivulet',
  description: 'Resumable LLM streaming for the browser',
  srcDir: '.vitepress/pages',
  cleanUrls: false,
  themeConfig: {
    nav: [{ text: 'API reference', link: '/api/index.html', target: '_self' }],
    sidebar: [...Object.entries(SECTIONS), ['More', others()] as const].map(([text, names]) => ({
      text,
      items: names.map((name) => ({ text: titleOf(name), link: `/${name}` })),
    })),
    outline: [2, 3],
    search: { provider: 'local' },
  },
});

/** @returns the pages that are in no section. */
function others(): string[] {
  const listed = new Set(Object.values(SECTIONS).flat());
  return readdirSync(pages)
    .filter((file) => file.endsWith('.md'))
    .map((file) => file.replace(/\.md$/, ''))
    .filter((name) => !listed.has(name));
}

function titleOf(name: string): string {
  const [, title = name] =
    /^# (.+)$/m.exec(readFileSync(new URL(`${name}.md`, pages), 'utf8')) ?? [];
  return title;
}
