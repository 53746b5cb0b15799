import { addAbortListener } from 'node:events';
import type { Logger } from '../../observe/logger.js';
import { truncated } from '../failure.js';
import { isSchema } from '../json-schema.js';
import { askWithinContext } from '../omit-turns.js';
import type { Delta, Prompt, Provider } from '../provider.js';
import { quote, textsOf } from '../quote.js';
import { explain } from './errors.js';
import type { AiSdkModel, Metadata, PartReader, StreamPart, Warning } from './model.js';
import { type ModelRef, toCallOptions } from './prompt.js';
import { createTurnReader, type TurnReader } from './turn.js';

export interface LanguageModelOptions {
  /**
   * The provider's name in logs, metrics and the `start` entry. The part of `model.provider` before the first
   * dot unless given.
   */
  name?: string | undefined;
  /**
   * Passed to the model with each call, such as `{ google: { thinkingConfig: { includeThoughts: true } } }`.
   */
  providerOptions?: Metadata | undefined;
  /**
   * Receives, once each, the warnings of the model and the types of parts that are left out of its answers.
   */
  logger?: Logger | undefined;
}

/** The limit of logged warnings and parts of one model. */
const MAX_LOGGED = 50;
const MAX_TYPE_CHARACTERS = 60;

/**
 * Wraps a model of the AI SDK as a provider. Text, thoughts, tool calls, usage and the finish reason are
 * passed on. Files, sources and tools that the model's own provider runs are left out of the answer.
 */
export function languageModel(
  model: AiSdkModel,
  { name = shortName(model.provider), providerOptions, logger }: LanguageModelOptions = {},
): Provider {
  const modelRef: ModelRef = { name, model: model.modelId };
  const logged = new Set<string>();

  function logOnce(event: string, fields: Readonly<Record<string, unknown>>): void {
    const key = JSON.stringify([event, fields]);
    if (logged.has(key) || logged.size >= MAX_LOGGED) return;
    logged.add(key);
    logger?.warn({ event, provider: name, model: model.modelId, ...fields });
  }

  function logWarning(warning: Warning, prompt: Prompt): void {
    const { type, setting, feature, tool, details, message } = warning;
    const quoted = (text: unknown): string =>
      typeof text === 'string' ? quote(text, textsOf(prompt)) : '';
    logOnce('LANGUAGE_MODEL_WARNING', {
      type: quoted(type),
      about: quoted(setting ?? feature ?? tool?.name),
      words: quoted(details ?? message),
    });
  }

  async function* stream(
    prompt: Prompt,
    signal: AbortSignal,
  ): AsyncGenerator<Delta, void, undefined> {
    signal.throwIfAborted();
    const upstream = new AbortController();
    let reader: PartReader | undefined;
    let turn: TurnReader | undefined;
    let reject: (reason: unknown) => void;
    const aborted = new Promise<never>((_, rejectIt) => (reject = rejectIt));
    aborted.catch(() => {});
    const link = addAbortListener(signal, () => {
      upstream.abort(signal.reason);
      reject(signal.reason);
      void cancel(reader);
    });

    async function open(asking: Prompt): Promise<PartReader> {
      const options = toCallOptions(asking, modelRef, providerOptions, upstream.signal);
      try {
        const opening = Promise.resolve(model.doStream(options as never));
        // A model may still respond after the caller has stopped waiting.
        opening.then(
          (late) => upstream.signal.aborted && void cancel(late.stream.getReader()),
          () => {},
        );
        return (await Promise.race([opening, aborted])).stream.getReader();
      } catch (error) {
        throw explain(error, name, asking, false);
      }
    }

    try {
      const { answer, omitted } = await askWithinContext(prompt, open);
      reader = answer;
      if (omitted > 0) yield { type: 'omitted', messages: omitted };
      turn = createTurnReader({
        modelRef,
        prompt,
        onIgnored: (part) =>
          logOnce('LANGUAGE_MODEL_PART_IGNORED', { part: part.slice(0, MAX_TYPE_CHARACTERS) }),
        onWarning: (warning) => logWarning(warning, prompt),
      });
      for (;;) {
        const { done, value } = await reader.read();
        signal.throwIfAborted();
        if (done) throw truncated(name, 'its stream ended without an end of the answer');
        if (!isStreamPart(value)) continue;
        const delta = turn.read(value);
        if (delta === undefined) continue;
        yield delta;
        if (delta.type === 'finish') return;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw explain(error, name, prompt, turn?.hasBegun === true);
    } finally {
      link[Symbol.dispose]();
      upstream.abort();
      void cancel(reader);
    }
  }

  return { name, model: model.modelId, hasJsonMode: true, stream };
}

/** Shortens `google.generative-ai` to `google`. */
function shortName(provider: string): string {
  return provider.split('.', 1)[0] || provider;
}

function isStreamPart(value: unknown): value is StreamPart {
  return isSchema(value) && typeof value['type'] === 'string';
}

async function cancel(reader: PartReader | undefined): Promise<void> {
  try {
    await reader?.cancel();
  } catch {
    // The stream has failed already.
  }
}
