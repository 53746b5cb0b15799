import type { Delta } from '../provider.js';

const OPEN = '<think>';
const CLOSE = '</think>';
/** The limit of white space that is held back before a tag. */
const MAX_HELD_CHARACTERS = 1_000;

/** Separates the content of an answer into text and thoughts. */
export interface ThinkTags {
  read(content: string, deltas: Delta[]): void;
  end(deltas: Delta[]): void;
}

/**
 * Some models write their thoughts into the content. Text between `<think>` and `</think>` is thoughts if
 * only white space precedes it, and text otherwise. White space around the tags is dropped, as in Ollama
 * itself. With `continues`, text precedes the content.
 */
export function createThinkTags(continues = false): ThinkTags {
  let state: 'before' | 'thoughts' | 'after' | 'text' = continues ? 'text' : 'before';
  let held = '';
  let hasThought = false;

  function readBefore(deltas: Delta[]): void {
    const content = held.trimStart();
    if (content.startsWith(OPEN)) {
      state = 'thoughts';
      held = content.slice(OPEN.length);
      readThoughts(deltas);
    } else if (!OPEN.startsWith(content) || held.length > MAX_HELD_CHARACTERS) {
      state = 'text';
      release(deltas, 'text', held.length);
    }
  }

  function readThoughts(deltas: Delta[]): void {
    if (!hasThought) held = held.trimStart();
    if (held !== '') hasThought = true;
    const end = held.indexOf(CLOSE);
    if (end === -1) return release(deltas, 'thought', held.length - endOverlap(held, CLOSE));
    release(deltas, 'thought', end);
    state = 'after';
    held = held.slice(CLOSE.length);
    readAfter(deltas);
  }

  function readAfter(deltas: Delta[]): void {
    held = held.trimStart();
    if (held === '') return;
    state = 'text';
    release(deltas, 'text', held.length);
  }

  function release(deltas: Delta[], type: 'text' | 'thought', length: number): void {
    if (length > 0) deltas.push({ type, text: held.slice(0, length) });
    held = held.slice(length);
  }

  return {
    read(content, deltas) {
      if (state === 'text') {
        deltas.push({ type: 'text', text: content });
        return;
      }
      held += content;
      if (state === 'before') readBefore(deltas);
      else if (state === 'thoughts') readThoughts(deltas);
      else readAfter(deltas);
    },
    end(deltas) {
      release(deltas, state === 'thoughts' ? 'thought' : 'text', held.length);
    },
  };
}

/** @returns the number of characters at the end of `text` that may be the beginning of `tag`. */
function endOverlap(text: string, tag: string): number {
  for (let length = Math.min(text.length, tag.length - 1); length > 0; length--) {
    if (text.endsWith(tag.slice(0, length))) return length;
  }
  return 0;
}
