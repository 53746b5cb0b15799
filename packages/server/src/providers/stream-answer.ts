import { addAbortListener } from 'node:events';
import type { ReadableStreamDefaultReader } from 'node:stream/web';
import {
  BlankAnswerError,
  notUnderstood,
  onlyThoughts,
  truncated,
  unreachable,
} from './failure.js';
import type { Response } from './http.js';
import { askWithinContext } from './omit-turns.js';
import { type Delta, type Prompt, ProviderError } from './provider.js';

/** Reads the body of one answer. Both methods add the deltas that came to `deltas`, then may throw. */
export interface AnswerParser {
  /** True if a part of the provider's protocol was recognised. */
  readonly hasBegun: boolean;
  read(text: string, deltas: Delta[]): void;
  /** The body has ended. */
  end(deltas: Delta[]): void;
}

/** How to talk to one provider. */
export interface ProviderApi {
  name: string;
  /** What the operator can do if something else answers in the provider's place. */
  advice: string;
  /**
   * Sends the request. Resolves with the response when its headers came.
   *
   * @throws {TooLongError} the prompt is longer than the model's context.
   * @throws {ProviderError} for other refusals and if the provider was not reached.
   */
  ask(prompt: Prompt, signal: AbortSignal): Promise<Response>;
  createParser(prompt: Prompt): AnswerParser;
}

/** The most characters of a frame or line that is not complete yet. */
export const MAX_FRAME_CHARACTERS: number = 16 * 1024 * 1024;

const VISIBLE = /\S/;
/** White space before the first visible character. A model in a loop may send it without end. */
const MAX_BLANK_CHARACTERS = 10_000;
/**
 * The end of the body comes right after the last line. Cancelling the body before it was read would
 * cost the connection, which the next request is to use again.
 */
const DRAIN_MS = 100;

/**
 * Streams one answer of any provider, as `Provider.stream` says. Each token passes this one generator
 * and no other: each further one would cost three promises for each token.
 */
export async function* streamAnswer(
  api: ProviderApi,
  prompt: Prompt,
  signal: AbortSignal,
): AsyncGenerator<Delta, void, undefined> {
  signal.throwIfAborted();
  // fetch removes its listener from a signal only when the signal is collected, so each call has its own.
  const upstream = new AbortController();
  const link = addAbortListener(signal, () => upstream.abort(signal.reason));
  let isRead = false;
  let hasReceived = false;
  let parser: AnswerParser | undefined;
  try {
    const { answer: response, omitted } = await askWithinContext(prompt, (asked) =>
      api.ask(asked, upstream.signal),
    );
    if (omitted > 0) yield { type: 'omitted', messages: omitted };

    parser = api.createParser(prompt);
    const reader = readerOf(response);
    // An answer with bytes that are no UTF-8 is broken; a replacement character would hide that.
    const decoder = new TextDecoder('utf-8', { fatal: true });
    let blank = '';
    let isVisible = false;
    let hasCalled = false;
    while (!isRead) {
      const { done, value } = await reader.read();
      isRead = done;
      const deltas: Delta[] = [];
      let failure: unknown;
      try {
        if (value !== undefined) {
          hasReceived = true;
          parser.read(decoder.decode(value, { stream: true }), deltas);
        } else {
          parser.read(decoder.decode(), deltas);
          parser.end(deltas);
        }
      } catch (error) {
        failure = error;
      }
      for (const delta of deltas) {
        if (delta.type === 'text' && !isVisible) {
          isVisible = VISIBLE.test(delta.text);
          blank += delta.text;
          if (isVisible) yield { type: 'text', text: blank };
          else if (blank.length > MAX_BLANK_CHARACTERS) {
            throw new BlankAnswerError(
              api.name,
              `${MAX_BLANK_CHARACTERS} characters of white space`,
            );
          }
        } else if (delta.type === 'finish') {
          if (!isVisible && !hasCalled) {
            throw delta.reason === 'length'
              ? onlyThoughts(api.name)
              : new BlankAnswerError(api.name, delta.reason);
          }
          if (!isRead) await drain(reader);
          isRead = true;
          yield delta;
          return;
        } else {
          if (delta.type === 'tool_call') hasCalled = true;
          yield delta;
        }
      }
      if (failure !== undefined) throw failure;
    }
    throw truncated(api.name, 'its stream ended without an end of the answer');
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ProviderError && error.failure !== 'truncated') throw error;
    if (hasReceived && parser?.hasBegun === false) throw notUnderstood(api.name, api.advice);
    if (error instanceof ProviderError) throw error;
    if (parser?.hasBegun === true) {
      throw truncated(api.name, 'its connection was closed or its bytes are no UTF-8', error);
    }
    throw unreachable(api.name, error, api.advice);
  } finally {
    link[Symbol.dispose]();
    if (!isRead) upstream.abort();
  }
}

function readerOf({ body }: Response): ReadableStreamDefaultReader<Uint8Array> {
  if (body === null) throw new Error('fetch gives each response to a GET or POST a body');
  return body.getReader();
}

/** Reads to the end of the body, or cancels it where that does not come. */
async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  const timer = setTimeout(() => void reader.cancel().catch(() => {}), DRAIN_MS);
  try {
    while (!(await reader.read()).done);
  } catch {
    // The answer is complete, whatever happens to its connection now.
  } finally {
    clearTimeout(timer);
  }
}
