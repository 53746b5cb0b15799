import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { Browser, Page } from 'playwright';
import { createServer, defaultClientConditions, type Plugin, type ViteDevServer } from 'vite';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';

const languages =
  'bash c cpp csharp css diff dockerfile go ini java javascript json kotlin php python ruby rust sql swift typescript xml yaml';

const dependencies = [
  'rxjs',
  'marked',
  'remend',
  'dompurify',
  'katex',
  'highlight.js/lib/core',
  ...languages.split(' ').map((language) => `highlight.js/lib/languages/${language}`),
];

/** Counts the units that the parser is given: a measure of work that a busy machine does not distort. */
const bench = `
import { Lexer } from 'marked';
import { whenLoaded } from '/src/lazy.ts';
import { createMarkdownView, renderMarkdown } from '/src/markdown.ts';
const lex = Lexer.prototype.lex;
Lexer.prototype.lex = function (source) {
  window.parsedChars += source.length;
  return lex.call(this, source);
};
Object.assign(window, { parsedChars: 0, createMarkdownView, renderMarkdown, whenLoaded });
document.body.dataset.ready = '';
`;

interface MarkdownView {
  draw(text: string): void;
  finish(text: string): void;
}

declare global {
  interface Window {
    parsedChars: number;
    hostileRan: boolean;
    createMarkdownView(container: Element): MarkdownView;
    renderMarkdown(text: string): DocumentFragment;
    whenLoaded(): Promise<unknown> | undefined;
  }
}

const benchPage: Plugin = {
  name: 'bench',
  resolveId: (id) => (id === '/bench.ts' ? '\0bench' : undefined),
  load: (id) => (id === '\0bench' ? bench : undefined),
  configureServer(server) {
    server.middlewares.use('/blank', (_request, response) => {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><body><script type="module" src="/bench.ts"></script></body>');
    });
  },
};

const nasty = `# A heading with *stress*

An opening paragraph with **bold**, \`code\`, **bold with \`code\` in it** and [a link][later].
Its second line has ~~struck~~ words, 2 * 3 = 6, a_name_with_bars and an & too &amp; there.

Setext
------

- one
- two **strong**
  1. nested
  2. also nested

     with a paragraph

     \`\`\`ts
     const inList: string = '**not bold**';
     \`\`\`
- three
- [x] kept
- [ ] lost

1. first

2. second

| Name | What **it** is | Count |
|:-----|:--------------:|------:|
| a    | \`x | y\`        | 1     |
| b    | [c](https://example.com/c) | 22 |

\`\`\`ts
const answer = client.start({ query: '**what?**' });

| not | a table |
\`\`\`

    indented code

> quoted *words*
> - with a list
>
> and more

<script>window.hostileRan = true</script>
<img src="x" onerror="window.hostileRan = true" alt="a picture">
<div style="position:fixed" onclick="window.hostileRan = true" class="badge">raw <b>HTML</b></div>
<form action="/steal"><input name="password"><button>go</button></form>
<a href="javascript:window.hostileRan = true">press</a> <svg onload="window.hostileRan = true"></svg>
<iframe srcdoc="<script>parent.hostileRan = true</script>"></iframe>

![the remote picture](http://127.0.0.1:9/pixel.png "t") and [bad](javascript:window.hostileRan=1).

***both*** and __under__ and [another][later] and [none][nowhere].

~~~python
def unclosed_until_the_end():
    return "\`\`\`"
~~~

[later]: https://example.com/later "A title"

The end, with a line break  
and a last **bold** word.
`;

let server: ViteDevServer;
let browser: Browser;
let page: Page;
let url: string;
let cacheDir: string;

beforeAll(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'rivulet-vite-'));
  server = await createServer({
    configFile: false,
    root: join(import.meta.dirname, '../../demo'),
    cacheDir,
    logLevel: 'warn',
    resolve: { conditions: ['@rivulet/source', ...defaultClientConditions] },
    optimizeDeps: { include: dependencies, entries: [] },
    server: { host: '127.0.0.1', port: 0, hmr: false, ws: false },
    plugins: [benchPage],
  });
  await server.listen();
  url = new URL('/blank', server.resolvedUrls?.local[0]).href;
  browser = await launchChromium();
  page = await browser.newPage();
});

beforeEach(async () => {
  await page.goto(url);
  await page.waitForFunction(() => 'ready' in document.body.dataset);
  // Formulas and colours come at once when they are loaded.
  await page.evaluate(async () => {
    window.renderMarkdown('$x$\n\n```ts\nlet x;\n```');
    await window.whenLoaded();
  });
});

afterAll(async () => {
  await browser.close();
  await server.close();
  await rm(cacheDir, { recursive: true, force: true });
});

/** The text that a visitor sees of a finished answer. */
function finished(source: string): Promise<string> {
  return page.evaluate((text) => {
    const container = document.createElement('div');
    const view = window.createMarkdownView(container);
    view.draw(text);
    view.finish(text);
    return container.textContent;
  }, source);
}

const squeezed = (text: string): string => text.replace(/\s+/g, '');

/** The words that are neither a link's target nor information on a fence. */
function visibleWords(source: string): string[] {
  const shown = source
    .replace(/^[^\n\w]*(?:`{3,}|~{3,})[^\n]*$/gm, '')
    .replace(/\]\(\s*<?[^\s)]*/g, '');
  return shown.match(/w\d+w/g) ?? [];
}

describe('the Markdown of a growing answer', () => {
  it('ends as one full parse does, wherever the text was cut on its way', async () => {
    const differing = await page.evaluate((text) => {
      const full = html(window.renderMarkdown(text));
      const steps = [1, 3, 7, 31, 200];
      const wrong = steps.filter((step) => {
        const container = document.createElement('div');
        const view = window.createMarkdownView(container);
        for (let end = step; end < text.length; end += step) view.draw(text.slice(0, end));
        view.finish(text);
        return container.innerHTML !== full;
      });
      for (let cut = 1; cut < text.length; cut += 3) {
        const container = document.createElement('div');
        const view = window.createMarkdownView(container);
        view.draw(text.slice(0, cut));
        view.finish(text);
        if (container.innerHTML !== full) wrong.push(cut);
      }
      return wrong;

      function html(fragment: DocumentFragment): string {
        const container = document.createElement('div');
        container.append(fragment);
        return container.innerHTML;
      }
    }, nasty);
    expect(differing).toEqual([]);
  });

  it.each([
    'It says <s> and goes on, <br> and </s> too.',
    '<s> at the beginning',
    'List<String> names, cd <folder>, a<b and c>d, 1 < 2',
    '<script>window.hostileRan = true</script>',
    '<div class="x">\n\n**bold** in it\n\n</div>',
    '- an item with <b>tags</b>\n- <details> another',
    '| a | b |\n|---|---|\n| <i>x</i> | <img src=x onerror=alert(1)> |',
    'before\n<!-- a comment -->\nafter <?php echo 1 ?> <![CDATA[x]]> <!DOCTYPE html>',
    'an entity: &lt;b&gt; and <b',
    '<think>hm</think> <tool_call>{"name": "x"}</tool_call>',
  ])('shows HTML as text, while it grows and at its end: %j', async (source) => {
    const { texts, tags } = await page.evaluate((text) => {
      const container = document.createElement('div');
      const view = window.createMarkdownView(container);
      for (let end = 1; end <= text.length; end++) view.draw(text.slice(0, end));
      const drawn = container.textContent;
      view.finish(text);
      return {
        texts: [drawn, container.textContent],
        tags: [...container.querySelectorAll('*')].map(({ tagName }) => tagName.toLowerCase()),
      };
    }, source);
    const markup = /\*\*|^- |\||---|\n/gm;
    const plain = (text: string | null) => (text ?? '').replace(markup, '').replace(/\s+/g, '');
    const expected = plain(source.replaceAll('&lt;', '<').replaceAll('&gt;', '>'));
    expect(texts.map(plain)).toEqual([expected, expected]);
    const fromMarkdown = 'div p strong ul li table thead tbody tr th td'.split(' ');
    expect(tags.filter((tag) => !fromMarkdown.includes(tag))).toEqual([]);
    expect(await page.evaluate(() => 'hostileRan' in window)).toBe(false);
  });

  it('ends as one full parse does when the answer is stopped at any character', async () => {
    const differing = await page.evaluate((text) => {
      const wrong: number[] = [];
      const container = document.createElement('div');
      const expected = document.createElement('div');
      for (let cut = 1; cut < text.length; cut += 5) {
        const view = window.createMarkdownView(container);
        container.replaceChildren();
        for (let end = 40; end < cut; end += 40) view.draw(text.slice(0, end));
        view.finish(text.slice(0, cut));
        expected.replaceChildren(window.renderMarkdown(text.slice(0, cut)));
        if (container.innerHTML !== expected.innerHTML) wrong.push(cut);
      }
      return wrong;
    }, nasty);
    expect(differing).toEqual([]);
  });

  it('draws finished blocks already as the full parse will', async () => {
    const early = nasty.slice(0, nasty.indexOf('> quoted')).replaceAll('[later]', '(https://a.b)');
    const changed = await page.evaluate((text) => {
      const expected = document.createElement('div');
      expected.append(window.renderMarkdown(text));
      const container = document.createElement('div');
      const view = window.createMarkdownView(container);
      for (let end = 1; end <= text.length; end += 1) view.draw(text.slice(0, end));
      const drawn = [...container.children].slice(0, -1);
      return drawn.flatMap((node, index) =>
        node.outerHTML === expected.children[index]?.outerHTML ? [] : [node.outerHTML],
      );
    }, early);
    expect(changed).toEqual([]);
  });

  it('keeps the nodes of earlier blocks, to the very end', async () => {
    const kept = await page.evaluate((text) => {
      const container = document.createElement('div');
      const view = window.createMarkdownView(container);
      const early = text.slice(0, text.indexOf('> quoted'));
      for (let end = 1; end <= early.length; end += 3) view.draw(text.slice(0, end));
      const before = [...container.children].slice(0, -1);
      for (let end = early.length; end <= text.length; end += 3) view.draw(text.slice(0, end));
      view.finish(text);
      const after = [...container.children];
      return {
        same: before.filter((node, index) => node === after[index]).length,
        of: before.length,
      };
    }, nasty);
    expect(kept.of).toBeGreaterThan(5);
    expect(kept.same).toBe(kept.of);
  });

  it('never shows the marks of Markdown that is still coming', async () => {
    const text = `Some **bold words**, *stress* and \`code\`, then **bold with \`code\` in it** too.

## A heading

- **Item one:** with \`code\`
- *Item two*, [a link](https://example.com "t") and ![a picture](https://example.com/p.png)
  - ~~nested~~

| Name | What **it** is |
| --- | :---: |
| **a** | \`b\` |

***All*** of it, __both__ ways, ~~gone~~ &amp; more.
`;
    const flashes = await page.evaluate((whole) => {
      const container = document.createElement('div');
      const view = window.createMarkdownView(container);
      const marks = /\*|__|~~|`|\||\]\(|\[|^#|---|&amp|!$/m;
      const shown: string[] = [];
      for (let end = 1; end <= whole.length; end += 1) {
        view.draw(whole.slice(0, end));
        if (marks.test(container.textContent ?? '')) shown.push(container.textContent ?? '');
      }
      return shown;
    }, text);
    expect(flashes).toEqual([]);
  });

  it('begins again when the text is not the one it had', async () => {
    const html = await page.evaluate(() => {
      const container = document.createElement('div');
      const view = window.createMarkdownView(container);
      view.draw('# First\n\nA first answer.\n\nWith two paragraphs\n');
      view.draw('# Second\n\nAnother');
      return container.innerHTML;
    });
    expect(html).toBe('<h1>Second</h1><p>Another</p>');
  });

  it('knows a link that was defined in a block before', async () => {
    const html = await page.evaluate(() => {
      const container = document.createElement('div');
      const view = window.createMarkdownView(container);
      const text = '[there]: /docs/there.md\n\nOne.\n\nTwo.\n\nSee [it][there] now';
      for (let end = 1; end <= text.length; end += 1) view.draw(text.slice(0, end));
      return container.lastElementChild?.outerHTML;
    });
    expect(html).toBe(
      '<p>See <a href="/docs/there.md" target="_blank" rel="noopener noreferrer">it</a> now</p>',
    );
  });

  it('colours a code block while it grows', async () => {
    const colours = await page.evaluate(() => {
      const container = document.createElement('div');
      const view = window.createMarkdownView(container);
      view.draw('```ts\nconst a = 1;\n');
      const [keyword] = container.querySelectorAll('.hljs-keyword');
      view.draw('```ts\nconst a = 1;\nlet b');
      const keywords = [...container.querySelectorAll('.hljs-keyword')];
      return {
        words: keywords.map(({ textContent }) => textContent),
        isKept: keywords[0] === keyword,
      };
    });
    expect(colours).toEqual({ words: ['const', 'let'], isKept: true });
  });

  it('lets nothing hostile live, at no moment, and fetches no picture', async () => {
    const requests: string[] = [];
    page.on('request', (request) => requests.push(request.url()));
    const found = await page.evaluate(async (text) => {
      const container = document.createElement('div');
      document.body.append(container);
      const view = window.createMarkdownView(container);
      const hostile = new Set<string>();
      const look = () => {
        const forbidden = 'script, img, iframe, svg, form, input, button, style, object, embed';
        for (const node of container.querySelectorAll(forbidden)) hostile.add(node.outerHTML);
        for (const node of container.querySelectorAll('*')) {
          for (const { name, value } of node.attributes) {
            if (name.startsWith('on') || name === 'style') hostile.add(name);
            if (/javascript:/i.test(value) || value === 'badge') hostile.add(value);
          }
        }
      };
      for (let end = 1; end <= text.length; end += 1) {
        view.draw(text.slice(0, end));
        look();
      }
      view.finish(text);
      look();
      await new Promise((resolve) => requestAnimationFrame(resolve));
      return {
        hostile: [...hostile],
        ran: window.hostileRan ?? false,
        text: container.textContent,
      };
    }, nasty);
    expect(found.hostile).toEqual([]);
    expect(found.ran).toBe(false);
    expect(found.text).toContain('the remote picture');
    expect(requests.filter((request) => !request.startsWith(new URL(url).origin))).toEqual([]);
  });

  it('opens links elsewhere and to the docs in a tab that knows nothing of this one', async () => {
    const links = await page.evaluate(() => {
      const fragment = window.renderMarkdown(
        '[a](https://example.com) [b](/docs/caching.md#caching-and-privacy) [c](#here)',
      );
      return [...fragment.querySelectorAll('a')].map((link) => [link.target, link.rel]);
    });
    expect(links).toEqual([
      ['_blank', 'noopener noreferrer'],
      ['_blank', 'noopener noreferrer'],
      ['', ''],
    ]);
  });

  it.each([
    'List<String> and Map<K, List<V>>',
    'cd <folder> && ls <file.txt',
    'a<b and c>d',
    'before <!-- never closed, and all that follows',
    'text <script> that is never closed',
    '<!-- first -->\n\n<div>\n\nsecond\n\n</div>',
    '2*3*4 = 24, f(x)*g(x)*h(x), 2**8 and 2**8**2',
    'costs ~5 to ~6 euros, ~7~',
    '1986. What a year.',
    'snake_case_name and __init__ed',
    'Only $5 and $6, or $5-$10, US$5/US$6 and $HOME/$USER',
    '[TODO]: later',
    'x &copy= y &nosuch; z',
  ])('keeps every character of prose: %j', async (source) => {
    expect(squeezed(await finished(source))).toBe(squeezed(source));
  });

  it.each([
    ['the numbers of a list', '3. three\n4. four\n9. nine\n1986. last', ['3', '4', '9', '1986']],
    ['the numbers that a list leaves open', '1. a\n1. b\n1. c', ['1', '2', '3']],
  ])('shows %s', async (_, source, numbers) => {
    const shown = await page.evaluate((text) => {
      const [list] = window.renderMarkdown(text).querySelectorAll('ol');
      let number = (list?.start ?? 1) - 1;
      return [...(list?.children ?? [])].map((item) => {
        number = item.hasAttribute('value') ? (item as HTMLLIElement).value : number + 1;
        return String(number);
      });
    }, source);
    expect(shown).toEqual(numbers);
  });

  it.each([
    ['a cell beyond the last column', '| a | b |\n|---|---|\n| 1 | 2 | three | four |', 'four'],
    ['the title of a link', '[it](https://a.example "a title")', 'a title'],
    ['the target of a link without text', 'See [](https://a.example/there).', 'a.example/there'],
    ['a picture without a text', '![](https://a.example/p.png)', 'a.example/p.png'],
    [
      'a definition that is not used',
      'Text.\n\n[note]: this "and that"',
      '[note]: this "and that"',
    ],
    ['formatted text of a picture', '![a **bold** one](p.png)', 'a bold one'],
  ])('shows %s', async (_, source, text) => {
    expect(await finished(source)).toContain(text);
  });

  it('loses no word of hostile Markdown, wherever the text was cut on its way', async () => {
    const short =
      '< > <!-- --> <script> </script> <a <b> </div> <![CDATA[ * ** *** _ __ ` `` ~ ~~ | + = [ ] ( ) ! \\ & # " ][ ![ [x] <https://a.example/target>';
    const long =
      '](https://a.example/target)¦](target "¦")¦\n[¦\n\n[¦]: target\n¦\n¦\n\n¦  \n¦\n    ¦\t¦ ¦\n> ¦\n- ¦\n  - ¦\n1. ¦\n7) ¦\n1986. ¦\n# ¦\n---\n¦\n===\n¦\n```\n¦\n~~~\n¦\n```ts\n¦\n| ¦ | ¦|\n|---|---|\n¦\n\n| a | b |\n|---|---|\n| ';
    const marks = [...short.split(' '), ...long.split('¦')];
    const piece = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...marks) },
      { weight: 2, arbitrary: fc.constant('word') },
    );
    const texts = fc.array(piece, { maxLength: 40 }).map((pieces) => {
      let words = 0;
      return pieces.map((each) => (each === 'word' ? `w${(words += 1)}w` : each)).join('');
    });
    await fc.assert(
      fc.asyncProperty(texts, fc.integer({ min: 1, max: 9 }), async (source, step) => {
        const { text, full } = await page.evaluate(
          ([whole, units]) => {
            const container = document.createElement('div');
            const view = window.createMarkdownView(container);
            for (let end = units; end < whole.length; end += units) view.draw(whole.slice(0, end));
            view.finish(whole);
            const parsed = document.createElement('div');
            parsed.append(window.renderMarkdown(whole));
            return { text: container.textContent, full: parsed.innerHTML === container.innerHTML };
          },
          [source, step] as const,
        );
        expect(full).toBe(true);
        const missing = visibleWords(source).filter((word) => !text.includes(word));
        expect(missing).toEqual([]);
      }),
      { numRuns: 400, examples: [['> <!-- w1w\n\nw2w', 3]] },
    );
  });

  it('loses no character of prose with any kind of HTML in it', async () => {
    const pieces =
      'word < > </ <! <!-- --> <script> </script> <style> <b> <div class="x"> </p> <br/> <? ?> <![CDATA[ ]]> & ; " \' = / a<b c>d'.split(
        ' ',
      );
    const texts = fc
      .array(fc.constantFrom(...pieces, '\n', '\n\n'), { maxLength: 30 })
      .map((words) => words.join(' ').replace(/^/gm, 'word '));
    await fc.assert(
      fc.asyncProperty(texts, async (source) => {
        expect(squeezed(await finished(source))).toBe(squeezed(source));
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ['>', 100_000],
    ['[', 100_000],
    ['*', 100_000],
    ['*a ', 50_000],
    ['**a _b ', 20_000],
    ['` ', 50_000],
    ['a`', 50_000],
    ['![', 50_000],
    ['[a](', 30_000],
    ['<', 100_000],
    ['$', 100_000],
    ['$a', 50_000],
    ['\\(', 50_000],
    ['\\*', 50_000],
    ['~~a', 30_000],
    ['- ', 30_000],
    ['> - ', 20_000],
    ['|', 100_000],
    ['_a_', 30_000],
    ['word ', 200_000],
    ['&', 100_000],
    [' ', 100_000],
    ['\n> a\nb', 3_000],
    ['a\n- b\n\n', 2_000],
    ['- \n', 3_000],
    ['1. a\n', 3_000],
    ['[a]: b\n', 5_000],
    ['#', 100_000],
    ['www.', 30_000],
    ['a@b.', 30_000],
    ['https://', 20_000],
  ])('takes a text that repeats %j in its stride, and shows it', async (part, times) => {
    const text = await page.evaluate(
      ([repeated, count]) => {
        const whole = `Before\n\n${repeated.repeat(count)} after`;
        const container = document.createElement('div');
        const view = window.createMarkdownView(container);
        for (let share = 1; share <= 10; share += 1) {
          view.draw(whole.slice(0, (whole.length * share) / 10));
        }
        view.finish(whole);
        const shown = container.textContent.trim();
        return { start: shown.slice(0, 6), end: shown.slice(-5) };
      },
      [part, times] as const,
    );
    expect(text).toEqual({ start: 'Before', end: 'after' });
  });

  it('parses the tail of a long reply for each frame, not the whole', async () => {
    const section = nasty.slice(0, nasty.indexOf('<script>'));
    const reply = section.repeat(Math.ceil(19_000 / section.length)).slice(0, 19_000);
    const { parsedChars, atFinish } = await page.evaluate((text) => {
      const view = window.createMarkdownView(document.createElement('div'));
      const frames = 240;
      window.parsedChars = 0;
      for (let frame = 1; frame <= frames; frame += 1) {
        view.draw(text.slice(0, Math.round((text.length * frame) / frames)));
      }
      const before = window.parsedChars;
      view.finish(text);
      return { parsedChars: before, atFinish: window.parsedChars - before };
    }, reply);
    const everyFrameInFull = (reply.length * 240) / 2;
    expect(atFinish).toBe(reply.length);
    expect(parsedChars).toBeLessThan(everyFrameInFull / 20);
  });
});
