import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type Delta, docs, type Provider, questionOf } from '@rivulet/server';
import { createDocsSearch } from '../packages/server/src/providers/docs/search.js';
import { readSections } from '../packages/server/src/providers/docs/sections.js';

/** The scripted answer. It says that no language model wrote it. */
export const SHOWCASE_TEXT: string = readFileSync(join(import.meta.dirname, 'showcase.md'), 'utf8');

const THOUGHTS =
  'There is no language model here, so nothing is thought through. A model that reasons would show its ' +
  'reasoning in this place before it answers. The scripted answer has a quote, a list, code, a formula and a ' +
  'table; it begins in a moment.';

/** Forty tokens a second. */
const TOKEN_MS = 25;
/** Pieces of the length of a model's tokens, which joined are the text. */
const TOKEN = /\s?[\p{L}\p{N}]{1,7}|\s+|[^]/gu;

/**
 * Answers where no model is set up: from the documentation if it covers the question, else with a scripted
 * answer, at a model's pace.
 */
export function showcase({ tokenMs = TOKEN_MS }: { tokenMs?: number } = {}): Provider {
  const sections = readSections();
  const search = createDocsSearch(sections);
  const documentation = docs({ sections, wordMs: tokenMs });
  const documentationAtOnce = docs({ sections, wordMs: 0 });

  async function* scripted(begun: string, signal: AbortSignal): AsyncGenerator<Delta> {
    signal.throwIfAborted();
    const rest = SHOWCASE_TEXT.startsWith(begun) ? SHOWCASE_TEXT.slice(begun.length) : '';
    for (const text of begun === '' ? tokensOf(THOUGHTS) : []) {
      await wait(tokenMs, undefined, { signal });
      yield { type: 'thought', text };
    }
    for (const text of tokensOf(rest)) {
      await wait(tokenMs, undefined, { signal });
      yield { type: 'text', text };
    }
    yield { type: 'finish', reason: 'stop', usage: {} };
  }

  return {
    name: 'showcase',
    model: 'documentation search or scripted text',
    canContinue: true,
    async *stream(prompt, signal): AsyncGenerator<Delta, void, undefined> {
      const question = questionOf(prompt);
      const last = prompt.messages.at(-1);
      const begun = prompt.continues && last?.role === 'assistant' ? last.text : '';
      const isCovered = /\brivulet\b/i.test(question) || search(question).length > 0;
      if (!isCovered) yield* scripted(begun, signal);
      else if (begun === '') yield* documentation.stream(prompt, signal);
      else yield* withoutStart(documentationAtOnce.stream(prompt, signal), begun.length);
    },
  };
}

async function* withoutStart(deltas: AsyncIterable<Delta>, units: number): AsyncGenerator<Delta> {
  let left = units;
  for await (const delta of deltas) {
    if (delta.type !== 'text') {
      yield delta;
      continue;
    }
    const text = delta.text.slice(left);
    left = Math.max(0, left - delta.text.length);
    if (text !== '') yield { type: 'text', text };
  }
}

function tokensOf(text: string): string[] {
  return text.match(TOKEN) ?? [];
}
