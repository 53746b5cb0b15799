import { createHash } from 'node:crypto';
import {
  type Delta,
  type Prompt,
  type Provider,
  ProviderError,
  type Providers,
  questionOf,
} from '@rivulet/server';

/** Is told each piece of text that a provider generates, as it comes. */
export interface CallListener {
  begin(call: number, question: string): void;
  text(call: number, question: string, text: string): void;
  /** @param failure why the call broke off; undefined for a complete answer. */
  end(call: number, question: string, failure: string | undefined): void;
}

export interface Generated {
  /** UTF-16 units. */
  length: number;
  /** SHA-256 of its first units in UTF-8, in hexadecimal. */
  digest: string;
  isRunning: boolean;
}

/** Keeps the text that the providers generate, and makes them fail. */
export interface Recorder {
  wrap(providers: Providers): Providers;
  /** Finds the newest text for a question. `digest` is that of its first `units`. */
  find(question: string, units: number): Generated | undefined;
  /** The running calls fail, or if there are none the next one before its first text. */
  failNow(): void;
  /** The running calls, or if there are none the next one, fail after some more text. */
  failLater(): void;
}

interface RecordedCall {
  id: number;
  question: string;
  text: string;
  isRunning: boolean;
  controller: AbortController;
  /** Units of the text after which the call fails. */
  failAt: number | undefined;
}

const MAX_KEPT = 50;
const UNITS_BEFORE_FAILURE = 300;

export function createRecorder(listener: CallListener): Recorder {
  const calls: RecordedCall[] = [];
  let nextFailure: 'now' | 'later' | undefined;
  let lastId = 0;

  const runningCalls = (): RecordedCall[] => calls.filter(({ isRunning }) => isRunning);

  async function* streamRecorded(
    provider: Provider,
    prompt: Prompt,
    signal: AbortSignal,
  ): AsyncGenerator<Delta> {
    const question = questionOf(prompt);
    const controller = new AbortController();
    const failAt = nextFailure === 'later' ? UNITS_BEFORE_FAILURE : undefined;
    const id = (lastId += 1);
    const call: RecordedCall = { id, question, text: '', isRunning: true, controller, failAt };
    if (nextFailure === 'now') controller.abort(failure());
    nextFailure = undefined;
    calls.push(call);
    if (calls.length > MAX_KEPT) calls.shift();
    listener.begin(id, question);
    let reason: string | undefined = 'the call was ended';
    try {
      const either = AbortSignal.any([signal, controller.signal]);
      for await (const delta of provider.stream(prompt, either)) {
        if (delta.type === 'text') {
          call.text += delta.text;
          listener.text(id, question, delta.text);
        }
        // The reader asks for nothing after the end.
        if (delta.type === 'finish') reason = undefined;
        yield delta;
        if (call.failAt !== undefined && call.text.length >= call.failAt) throw failure();
      }
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      call.isRunning = false;
      listener.end(id, question, reason);
    }
  }

  function wrapProvider(provider: Provider): Provider {
    const { withModel, prepare } = provider;
    return {
      get name() {
        return provider.name;
      },
      get model() {
        return provider.model;
      },
      get problem() {
        return provider.problem;
      },
      get canContinue() {
        return provider.canContinue;
      },
      ...(prepare && { prepare: () => prepare.call(provider) }),
      ...(withModel && { withModel: (model) => wrapProvider(withModel.call(provider, model)) }),
      stream: (prompt, signal) => streamRecorded(provider, prompt, signal),
    };
  }

  return {
    wrap([first, ...rest]) {
      return [
        { ...first, provider: wrapProvider(first.provider) },
        ...rest.map((config) => ({ ...config, provider: wrapProvider(config.provider) })),
      ];
    },
    find(question, units) {
      const call = calls.findLast((each) => each.question === question);
      if (call === undefined) return undefined;
      const { text, isRunning } = call;
      const digest = createHash('sha256').update(text.slice(0, units)).digest('hex');
      return { length: text.length, digest, isRunning };
    },
    failNow() {
      const affected = runningCalls();
      if (affected.length === 0) nextFailure = 'now';
      for (const { controller } of affected) controller.abort(failure());
    },
    failLater() {
      const affected = runningCalls();
      if (affected.length === 0) nextFailure = 'later';
      for (const call of affected) call.failAt = call.text.length + UNITS_BEFORE_FAILURE;
    },
  };
}

function failure(): ProviderError {
  return new ProviderError(
    'unavailable',
    'unable to continue: "Try to break it" made the provider fail',
  );
}
