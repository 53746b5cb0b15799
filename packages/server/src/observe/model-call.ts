import type { Attributes, Histogram } from '@opentelemetry/api';
import type { Usage } from '@rivulet/protocol';
import { GEN_AI, genAiAttributes, type GenAiMetrics } from './gen-ai.js';

/** One request to a model, being measured. */
export interface ModelCall {
  /**
   * A piece of text or of thought came at `now` (`performance.now()`), this many UTF-16 units long; 0 for
   * the call of a tool.
   */
  chunk(units: number, now: number): void;
  /** The model said that it is done, what it counted, and where it did, which model it was. */
  finish(usage: Usage, responseModel: string | undefined): void;
  /** The call is over; `errorType` is the class of the failure if it was one. To be called once. */
  end(errorType: string | undefined): void;
}

// Upstream writes it, so it is kept from growing into anything else than a name.
const MODEL_NAME = /^[\w.:/@-]{1,100}$/;

export function beginModelCall(
  genAi: GenAiMetrics,
  tokensPerSecond: Histogram,
  provider: string,
  model: string,
): ModelCall {
  const attributes = genAiAttributes(provider, model);
  let answered: Attributes = attributes;
  const startedAt = performance.now();
  let firstAt: number | undefined;
  let lastAt = startedAt;
  let firstUnits = 0;
  let units = 0;
  let chunks = 0;

  function recordTokens(type: 'input' | 'output', tokens: number | undefined): void {
    if (tokens === undefined) return;
    genAi.tokenUsage.record(tokens, { ...answered, [GEN_AI.tokenType]: type });
  }

  /** Over the time from the first chunk to the last, and so without the first chunk's share. */
  function recordSpeed(tokens: number | undefined): void {
    if (tokens === undefined || firstAt === undefined || lastAt <= firstAt || units === 0) return;
    const afterFirst = tokens * (1 - firstUnits / units);
    tokensPerSecond.record(afterFirst / ((lastAt - firstAt) / 1000), { provider, model });
  }

  return {
    chunk(size, now) {
      if (firstAt === undefined) {
        genAi.timeToFirstChunk.record((now - startedAt) / 1000, attributes);
        firstAt = now;
        firstUnits = size;
      }
      lastAt = now;
      units += size;
      chunks += 1;
    },
    finish(usage, responseModel) {
      if (responseModel !== undefined && MODEL_NAME.test(responseModel)) {
        answered = { ...attributes, [GEN_AI.responseModel]: responseModel };
      }
      recordTokens('input', usage.input_tokens);
      recordTokens('output', usage.output_tokens);
      recordSpeed(usage.output_tokens);
    },
    end(errorType) {
      if (firstAt !== undefined && chunks > 1)
        genAi.timePerOutputChunk.record((lastAt - firstAt) / 1000 / (chunks - 1), attributes);
      const failed = errorType !== undefined && { [GEN_AI.errorType]: errorType };
      genAi.duration.record((performance.now() - startedAt) / 1000, { ...answered, ...failed });
    },
  };
}
