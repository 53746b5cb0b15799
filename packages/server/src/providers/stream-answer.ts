import { addAbortListener } from 'node:events';
import { TextDecoder } from 'node:util';
import { notUnderstood, truncated, unreachable } from './failure.js';
import type { Response } from './http.js';
import { watchLoading } from './watch-loading.js';
import { askWithinContext } from './omit-turns.js';
import { type Delta, type Prompt, ProviderError } from './provider.js';

/** Parses the body of one answer. Both methods add the new deltas to `deltas`, and throw afterwards. */
export interface AnswerParser {
  /** True if a part of the provider's protocol was recognized. */
  readonly hasBegun: boolean;
  read(text: string, deltas: Delta[]): void;
  /** The body has ended. */
  end(deltas: Delta[]): void;
}

/** The requests and the parser of one provider. */
export interface ProviderApi {
  name: string;
  /** The advice for the operator if something else responds in the provider's place. */
  advice: string;
  /**
   * Sends the request. Resolves with the response after its headers have arrived.
   *
   * @throws {TooLongError} the prompt is longer than the model's context.
   * @throws {ProviderError} for other refusals and if the provider was not reached.
   */
  ask(prompt: Prompt, signal: AbortSignal): Promise<Response>;
  /** Checks if the model is in memory. Absent if the provider does not load models. */
  isLoaded?: ((signal: AbortSignal) => Promise<boolean>) | undefined;
  createParser(prompt: Prompt): AnswerParser;
}

/** The limit of an incomplete event or line, in characters. */
export const MAX_FRAME_CHARACTERS: number = 16 * 1024 * 1024;

/**
 * The body usually ends directly after the last line. Cancelling it earlier would close the connection, which
 * the next request can reuse.
 */
const DRAIN_MS = 100;

/**
 * Streams one answer of any provider; see `Provider.stream`. Each token passes through this generator only,
 * because each further generator would cost three promises for each token.
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

/** The progress of an answer. */
interface Progress {
  parser?: AnswerParser;
  hasReceived: boolean;
}

/** Before any data was recognized, a failure is one of the connection or of the address. */
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

/** @returns undefined if the bytes are not UTF-8. A replacement character would hide an invalid answer. */
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
