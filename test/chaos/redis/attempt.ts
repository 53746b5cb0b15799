import { textOf } from '../answer.js';

// Each call of the model says something else, so that a text that was put together from two calls shows. A
// text begins with the name of its call.

const HEAD = /^<([\w.]+)> /;
const PART_OF_HEAD = /^<[\w.]*>?$/;

export function headOf(call: string): string {
  return `<${call}> `;
}

/** The input that determines the model's answer to `query` in a call; see `answerTo`. */
export function scriptOf(query: string, call: string): string {
  return `${query} in ${call}`;
}

/** All that a call says. */
export function textOfCall(query: string, call: string): string {
  return headOf(call) + textOf(scriptOf(query, call));
}

/** @returns the call that a text is from; '' if the text is too short to tell, undefined if it is none. */
export function callOf(text: string): string | undefined {
  const [, call] = HEAD.exec(text) ?? [];
  return call ?? (text === '' || PART_OF_HEAD.test(text) ? '' : undefined);
}
