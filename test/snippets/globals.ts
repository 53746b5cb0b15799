import type { Answer, AnswerRequest, Client } from '@rivulet/client';
import type { AnswerState } from '@rivulet/client/react';
import type { expect as jestExpect, test as jestTest } from 'vitest';

// The names that snippets of the documentation use without declaring them.
declare global {
  const client: Client;
  const answer: Answer;
  const ask: AnswerRequest;
  const userId: string;
  const token: string;

  const output: HTMLOutputElement;
  const input: HTMLInputElement;
  const form: HTMLFormElement;
  const stopButton: HTMLButtonElement;
  const list: HTMLElement;

  /** Globals of Jest, whose functions of these names are like Vitest's. */
  const test: typeof jestTest;
  const expect: typeof jestExpect;

  function render(state: AnswerState): void;

  /** The application's own sessions, as a server has them. */
  const sessions: {
    userOf(
      token: string | undefined,
      options?: { signal: AbortSignal },
    ): Promise<{ id: string; expiresAt: Date } | undefined>;
  };
}
