import type { Attributes, Context, Histogram, Span } from '@opentelemetry/api';
import type { FinishReason, Usage } from '@rivulet/protocol';
import { GEN_AI, genAiAttributes, type GenAiMetrics, genAiSpanName } from './gen-ai.js';
import { endSpan, startCallSpan } from './tracing.js';

// Upstream writes it, so it is kept from growing into anything else than a name.
const MODEL_NAME = /^[\w.:/@-]{1,100}$/;

/** One request to a model, being measured and traced. */
export class ModelCall {
  readonly #genAi: GenAiMetrics;
  readonly #tokensPerSecond: Histogram;
  readonly #provider: string;
  readonly #model: string;
  readonly #startedAt = performance.now();
  readonly #span: Span;
  /** The context of the call's span. */
  readonly context: Context;
  /** What the model called itself; undefined if it is not known. */
  #responseModel: string | undefined;
  #firstAt: number | undefined;
  #lastAt = this.#startedAt;
  #firstUnits = 0;
  #units = 0;
  #chunks = 0;

  constructor(
    genAi: GenAiMetrics,
    tokensPerSecond: Histogram,
    provider: string,
    model: string,
    parent: Context,
  ) {
    this.#genAi = genAi;
    this.#tokensPerSecond = tokensPerSecond;
    this.#provider = provider;
    this.#model = model;
    const attributes = this.#attributes();
    const { span, context } = startCallSpan(genAiSpanName(attributes), attributes, parent);
    this.#span = span;
    this.context = context;
  }

  /**
   * A piece of text or of thought came at `now` (`performance.now()`), this many UTF-16 units long; 0 for
   * the call of a tool.
   */
  chunk(units: number, now: number): void {
    if (this.#firstAt === undefined) {
      this.#genAi.timeToFirstChunk.record((now - this.#startedAt) / 1000, this.#attributes());
      this.#firstAt = now;
      this.#firstUnits = units;
    }
    this.#lastAt = now;
    this.#units += units;
    this.#chunks += 1;
  }

  /** The model said that it is done, why, what it counted, and where it did, which model it was. */
  finish(reason: FinishReason, usage: Usage, responseModel: string | undefined): void {
    if (responseModel !== undefined && MODEL_NAME.test(responseModel))
      this.#responseModel = responseModel;
    if (this.#span.isRecording()) this.#describe(reason, usage);
    this.#recordTokens('input', usage.input_tokens);
    this.#recordTokens('output', usage.output_tokens);
    this.#recordSpeed(usage.output_tokens);
  }

  /** The call is over; `errorType` is the class of the failure if it was one. To be called once. */
  end(errorType: string | undefined): void {
    if (this.#firstAt !== undefined && this.#chunks > 1) {
      const seconds = (this.#lastAt - this.#firstAt) / 1000;
      this.#genAi.timePerOutputChunk.record(seconds / (this.#chunks - 1), this.#attributes());
    }
    const failed = errorType !== undefined && { [GEN_AI.errorType]: errorType };
    const seconds = (performance.now() - this.#startedAt) / 1000;
    this.#genAi.duration.record(seconds, { ...this.#answered(), ...failed });
    endSpan(this.#span, errorType);
  }

  #describe(reason: FinishReason, usage: Usage): void {
    this.#span.setAttributes({
      [GEN_AI.finishReasons]: [reason],
      ...(this.#responseModel !== undefined && { [GEN_AI.responseModel]: this.#responseModel }),
      ...(usage.input_tokens !== undefined && { [GEN_AI.inputTokens]: usage.input_tokens }),
      ...(usage.output_tokens !== undefined && { [GEN_AI.outputTokens]: usage.output_tokens }),
    });
  }

  #attributes(): Attributes {
    return genAiAttributes(this.#provider, this.#model);
  }

  #answered(): Attributes {
    const model = this.#responseModel;
    return { ...this.#attributes(), ...(model !== undefined && { [GEN_AI.responseModel]: model }) };
  }

  #recordTokens(type: 'input' | 'output', tokens: number | undefined): void {
    if (tokens === undefined) return;
    this.#genAi.tokenUsage.record(tokens, { ...this.#answered(), [GEN_AI.tokenType]: type });
  }

  /** Over the time from the first chunk to the last, and so without the first chunk's share. */
  #recordSpeed(tokens: number | undefined): void {
    const first = this.#firstAt;
    if (tokens === undefined || first === undefined || this.#lastAt <= first || this.#units === 0)
      return;
    const afterFirst = tokens * (1 - this.#firstUnits / this.#units);
    const speed = afterFirst / ((this.#lastAt - first) / 1000);
    this.#tokensPerSecond.record(speed, { provider: this.#provider, model: this.#model });
  }
}
