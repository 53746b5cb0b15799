import type { Attributes, Context, Histogram, Span } from '@opentelemetry/api';
import type { FinishReason, Usage } from '@rivulet/protocol';
import { GEN_AI, genAiAttributes, type GenAiMetrics, genAiSpanName } from './gen-ai.js';
import { endSpan, startCallSpan } from './tracing.js';

// Limits the form of a model name from a response, because the remote server controls it.
const MODEL_NAME = /^[\w.:/@-]{1,100}$/;

/** Measures and traces one call of a model. */
export class ModelCall {
  readonly #genAi: GenAiMetrics;
  readonly #tokensPerSecond: Histogram;
  readonly #provider: string;
  readonly #model: string;
  readonly #startedAt = performance.now();
  readonly #span: Span;
  /** The context of the call's span. */
  readonly context: Context;
  /** The model name in the response; undefined if it is not known. */
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
   * Records a piece of text or thought that arrived at `now` (`performance.now()`) with this many UTF-16
   * units; 0 for a tool call.
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

  /** Records the finish reason, the usage, and the model name of the response. */
  finish(reason: FinishReason, usage: Usage, responseModel: string | undefined): void {
    if (responseModel !== undefined && MODEL_NAME.test(responseModel))
      this.#responseModel = responseModel;
    if (this.#span.isRecording()) this.#describe(reason, usage);
    this.#recordTokens('input', usage.input_tokens);
    this.#recordTokens('output', usage.output_tokens);
    this.#recordSpeed(usage.output_tokens);
  }

  /** Ends the measurement. `errorType` is the class of the failure; undefined for a success. Called once. */
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

  /** The speed from the first chunk to the last. The tokens of the first chunk are not counted. */
  #recordSpeed(tokens: number | undefined): void {
    const first = this.#firstAt;
    if (tokens === undefined || first === undefined || this.#lastAt <= first || this.#units === 0)
      return;
    const afterFirst = tokens * (1 - this.#firstUnits / this.#units);
    const speed = afterFirst / ((this.#lastAt - first) / 1000);
    this.#tokensPerSecond.record(speed, { provider: this.#provider, model: this.#model });
  }
}
