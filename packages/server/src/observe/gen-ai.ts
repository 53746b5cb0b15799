import type { Attributes, Histogram, Meter } from '@opentelemetry/api';

/**
 * The metrics of OpenTelemetry's conventions for generative AI. The status of these conventions is
 * "development", so this file holds every name that may still change:
 * https://github.com/open-telemetry/semantic-conventions-genai
 */
export interface GenAiMetrics {
  /** In seconds. */
  duration: Histogram;
  tokenUsage: Histogram;
  /** In seconds. */
  timeToFirstChunk: Histogram;
  /**
   * In seconds: the mean of a call, recorded once, because a record for each chunk costs more than its text.
   */
  timePerOutputChunk: Histogram;
}

export const GEN_AI = {
  operation: 'gen_ai.operation.name',
  provider: 'gen_ai.provider.name',
  requestModel: 'gen_ai.request.model',
  responseModel: 'gen_ai.response.model',
  tokenType: 'gen_ai.token.type',
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  finishReasons: 'gen_ai.response.finish_reasons',
  errorType: 'error.type',
} as const;

// The histogram boundaries of the conventions.
const SECONDS = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const TOKENS = [
  1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216,
  67_108_864,
];

export function createGenAiMetrics(meter: Meter): GenAiMetrics {
  const seconds = (name: string, description: string): Histogram =>
    meter.createHistogram(`gen_ai.client.operation.${name}`, {
      unit: 's',
      description,
      advice: { explicitBucketBoundaries: SECONDS },
    });
  return {
    duration: seconds('duration', 'GenAI operation duration.'),
    timeToFirstChunk: seconds('time_to_first_chunk', 'Time to receive the first chunk.'),
    timePerOutputChunk: seconds('time_per_output_chunk', 'Mean time per chunk after the first.'),
    tokenUsage: meter.createHistogram('gen_ai.client.token.usage', {
      unit: '{token}',
      description: 'Number of input and output tokens used.',
      advice: { explicitBucketBoundaries: TOKENS },
    }),
  };
}

const KNOWN_PROVIDERS: Readonly<Record<string, Attributes>> = {
  gemini: { [GEN_AI.operation]: 'generate_content', [GEN_AI.provider]: 'gcp.gemini' },
};

/**
 * The attributes of every GenAI metric and span of a call. A provider that the conventions do not list keeps
 * its own name.
 */
export function genAiAttributes(provider: string, requestModel: string): Attributes {
  return {
    [GEN_AI.operation]: 'chat',
    [GEN_AI.provider]: provider,
    ...KNOWN_PROVIDERS[provider],
    [GEN_AI.requestModel]: requestModel,
  };
}

/** The name of the span of a call with these attributes. */
export function genAiSpanName(attributes: Attributes): string {
  return [attributes[GEN_AI.operation], attributes[GEN_AI.requestModel]].join(' ');
}
