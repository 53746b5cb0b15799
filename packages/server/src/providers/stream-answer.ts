import { addAbortListener } from 'node:events';
import type { ReadableStreamDefaultReader } from 'node:stream/web';
import { TextDecoder } from 'node:util';
import {
  BlankAnswerError,
  notUnderstood,
  onlyThoughts,
  truncated,
  unreachable,
} from './failure.js';
import type { Response } from './http.js';
import { watchLoading } from './loading.js';
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
  /** Whether the model is in memory. Absent where nobody needs to know. */
  isLoaded?: ((signal: AbortSignal) => Promise<boolean>) | undefined;
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
  const progress: Progress = { hasReceived: false };
  let isRead = false;
  try {
    const asking = askWithinContext(prompt, (asked) => api.ask(asked, upstream.signal));
    if (api.isLoaded !== undefined) yield* watchLoading(asking, api.isLoaded);
    const { answer: response, omitted } = await asking;
    if (omitted > 0) yield { type: 'omitted', messages: omitted };

    const parser = (progress.parser = api.createParser(prompt));
    const reader = readerOf(response);
    const decoder = new TextDecoder('utf-8', { fatal: true });
    const beginning = new Beginning(api.name);
    while (!isRead) {
      const { done, value } = await reader.read();
      isRead = done;
      progress.hasReceived ||= !done;
      const deltas: Delta[] = [];
      let failure: unknown;
      try {
        readChunk(parser, decoder, value, deltas);
      } catch (error) {
        failure = error;
      }
      for (const came of deltas) {
        const delta = beginning.admit(came);
        if (delta === undefined) continue;
        if (delta.type === 'finish' && !isRead) {
          await drain(reader);
          isRead = true;
        }
        yield delta;
        if (delta.type === 'finish') return;
      }
      if (failure !== undefined) throw failure;
    }
    throw truncated(api.name, 'its stream ended without an end of the answer');
  } catch (error) {
    signal.throwIfAborted();
    throw asProviderError(error, api, progress);
  } finally {
    link[Symbol.dispose]();
    if (!isRead) upstream.abort();
  }
}

/** How far an answer came. */
interface Progress {
  parser?: AnswerParser;
  hasReceived: boolean;
}

/** Before anything was recognised, a failure is one of the connection or of the address. */
function asProviderError(
  error: unknown,
  { name, advice }: ProviderApi,
  { parser, hasReceived }: Progress,
): ProviderError {
  const isTruncated = error instanceof ProviderError && error.failure === 'truncated';
  if (error instanceof ProviderError && !isTruncated) return error;
  if (hasReceived && parser?.hasBegun === false) return notUnderstood(name, advice);
  if (isTruncated) return error;
  return parser?.hasBegun === true
    ? truncated(name, 'its connection was closed, or its bytes are not UTF-8', error)
    : unreachable(name, error, advice);
}

/** Holds white space back until a visible character comes, so that a blank answer is never shown. */
class Beginning {
  readonly #provider: string;
  #blank = '';
  #isVisible = false;
  #hasCalled = false;

  constructor(provider: string) {
    this.#provider = provider;
  }

  /**
   * @returns what is to be yielded, or undefined while the text is blank.
   * @throws {ProviderError} the answer is blank.
   */
  admit(delta: Delta): Delta | undefined {
    if (delta.type === 'text') return this.#isVisible ? delta : this.#hold(delta.text);
    if (delta.type === 'tool_call') this.#hasCalled = true;
    if (delta.type !== 'finish' || this.#isVisible || this.#hasCalled) return delta;
    throw delta.reason === 'length'
      ? onlyThoughts(this.#provider)
      : new BlankAnswerError(this.#provider, delta.reason);
  }

  #hold(text: string): Delta | undefined {
    this.#blank += text;
    this.#isVisible = VISIBLE.test(text);
    if (this.#isVisible) return { type: 'text', text: this.#blank };
    if (this.#blank.length <= MAX_BLANK_CHARACTERS) return undefined;
    throw new BlankAnswerError(this.#provider, `${MAX_BLANK_CHARACTERS} characters of white space`);
  }
}

/** `bytes` is undefined at the end of the body. */
function readChunk(
  parser: AnswerParser,
  decoder: TextDecoder,
  bytes: Uint8Array | undefined,
  deltas: Delta[],
): void {
  if (bytes === undefined) {
    parser.read(decoder.decode(), deltas);
    parser.end(deltas);
    return;
  }
  const text = decode(decoder, bytes);
  parser.read(text ?? beforeInvalid(bytes), deltas);
  if (text === undefined) throw new TypeError('the bytes are not UTF-8');
}

/** @returns undefined if the bytes are not UTF-8. A replacement character would hide a broken answer. */
function decode(decoder: TextDecoder, bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes, { stream: true });
  } catch {
    return undefined;
  }
}

function beforeInvalid(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).split('\uFFFD', 1)[0] ?? '';
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
