import { addAbortListener } from 'node:events';
import { TextDecoder } from 'node:util';
import { notUnderstood, truncated, unreachable } from './failure.js';
import type { Response } from './http.js';
import { watchLoading } from './loading.js';
import { askWithinContext } from './omit-turns.js';
import { type Delta, type Prompt, ProviderError } from './provider.js';

/** Reads the body of one answer. Both methods add the deltas that came to `deltas`, then may throw. */
export interface AnswerParser {
  /** True if a part of the provider's protocol was recognized. */
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
  const upstream = new AbortController();
  const link = addAbortListener(signal, () => upstream.abort(signal.reason));
  const progress: Progress = { hasReceived: false };
  let isRead = false;
  try {
    const asking = askWithinContext(prompt, (asked) => api.ask(asked, upstream.signal));
    if (api.isLoaded !== undefined) yield* watchLoading(asking, api.isLoaded);
    const { answer, omitted } = await asking;
    if (omitted > 0) yield { type: 'omitted', messages: omitted };

    const { body } = answer;
    const parser = (progress.parser = api.createParser(prompt));
    const decoder = new TextDecoder('utf-8', { fatal: true });
    while (!isRead) {
      const bytes = await body.read();
      isRead = bytes === undefined;
      progress.hasReceived ||= !isRead;
      const deltas: Delta[] = [];
      let failure: unknown;
      try {
        readChunk(parser, decoder, bytes, deltas);
      } catch (error) {
        failure = error;
      }
      for (const delta of deltas) {
        if (delta.type === 'finish' && !isRead) {
          await body.drain(DRAIN_MS);
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

/** Before anything was recognized, a failure is one of the connection or of the address. */
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
