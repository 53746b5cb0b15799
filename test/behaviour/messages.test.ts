import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { collectMessages, type Message } from '../harness/messages.js';

const RULE = new URL('../../scripts/textlint/plain-sentences.js', import.meta.url);
/** The words that the rule for the documentation forbids, too. */
const FORBIDDEN = /WORDS_FOR_A_READER = \/(.+)\/i;/.exec(readFileSync(RULE, 'utf8'))![1]!;

const MESSAGES = collectMessages();
const ofKind = (...kinds: Message['kind'][]): string[] =>
  MESSAGES.filter(({ kind }) => kinds.includes(kind)).map(({ text }) => text);
const ERRORS = ofKind('error');
const PAGE = ofKind('page');

/** The reason, or the advice after it, is a value: the message that it comes from is checked where it is written. */
const ENDS_WITH_VALUE = /…$/;
const ADVICE = /; |\bmust\b|\bat most\b/;

/** Errors after which the reader has nothing to do, or only a developer has, with the reason. */
const WITHOUT_ADVICE: Record<string, string> = {
  'unable to continue: "Try to break it" made the provider fail': 'the visitor pressed the button',
  'unable to finish the answer: it was cancelled': 'a user wanted it',
  'unable to finish the answer: the client was closed': 'the app wanted it',
  'unable to send: the signal of the question is aborted': 'the app wanted it',
  'unable to finish the answer: the data of this user was removed': 'the operator wanted it',
  'unable to finish the answer':
    'the code of the error says why; it completes an error without a message',
  'unable to answer the call: the answer has ended': 'the snapshot shows the outcome of the call',
  'unable to answer the call: its answer is not running':
    'the snapshot shows the outcome of the call',
  'unable to answer the call: no answer is shown': 'there is no call to reply to',
  'unable to answer the call: no waiting call has this id': 'there is no call to reply to',
  'unable to answer the call: it has another reply, or has ended without one':
    'the snapshot shows the outcome of the call',
  'unable to continue: the answer is not running': 'there is nothing to continue',
  'unable to use the store: timed out': 'the chat continues in memory, and `clear` rejects',
  'unable to read the chat: its record in the store is invalid': 'the chat continues in memory',
  'unable to rename the chat: no chat has this id': 'there is no chat to rename',
  'unable to show the answer …: it has no parts': 'a store never has such a record',
  'unable to build the page: no … matches …': 'the page and its script are built together',
  'unable to start': 'the cause is logged with it, and says what to do',
};

describe('the messages of the repository', () => {
  it('are these', async () => {
    const lines = MESSAGES.map(({ file, kind, text }, index) => {
      const heading = MESSAGES[index - 1]?.file === file ? '' : `\n${file}\n`;
      return `${heading}  ${kind}: ${text}`;
    });
    await expect(`${lines.join('\n').trim()}\n`).toMatchFileSnapshot('messages.txt');
  });

  it('come from the server, the client and the demo', () => {
    for (const folder of ['packages/server', 'packages/client', 'demo']) {
      expect(MESSAGES.filter(({ file }) => file.startsWith(folder)).length).toBeGreaterThan(20);
    }
  });

  it('have no word that tells the reader how easy something is', () => {
    expect(MESSAGES.filter(({ text }) => new RegExp(FORBIDDEN, 'i').test(text))).toEqual([]);
  });

  it('have no name of the code outside of backticks, but for names that the reader writes', () => {
    const names = /\b(?!connectionStateRecovery\b)[a-z]+[A-Z]\w*/;
    expect(MESSAGES.filter(({ text }) => names.test(text.replaceAll(/`[^`]*`/g, '')))).toEqual([]);
  });

  it('of an error read "unable to …: reason", without a period at the end', () => {
    const shape = /^unable to [^:]+: \S(?:.*[^.\s])?$/;
    const isPrefix = /^unable to (?:start|finish the answer)$/;
    expect(ERRORS.filter((text) => !shape.test(text) && !isPrefix.test(text))).toEqual([]);
  });

  it('of an error say what to do, unless there is nothing to do', () => {
    const isWithout = (text: string): boolean => !ADVICE.test(text) && !ENDS_WITH_VALUE.test(text);
    const without = ERRORS.filter((text) => isWithout(text) || text in WITHOUT_ADVICE);
    expect([...new Set(without)].toSorted()).toEqual(Object.keys(WITHOUT_ADVICE).toSorted());
  });

  it('of the page begin with a capital letter, and end with a period if they are sentences', () => {
    const hasSentenceBefore = /[.?!] [A-Z]/;
    expect(PAGE.filter((text) => !/^[A-Z]/.test(text))).toEqual([]);
    expect(PAGE.filter((text) => hasSentenceBefore.test(text) && !/[.?!…]$/.test(text))).toEqual(
      [],
    );
  });
});
