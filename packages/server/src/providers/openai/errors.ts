import { detailOf, failureOf, providerError, refused, TooLongError } from '../failure.js';
import type { Response } from '../http.js';
import { isSchema } from '../json-schema.js';
import { ProviderError, type ProviderFailure } from '../provider.js';
import { type PromptTexts, quote, textsOf, withoutClientTexts } from '../quote.js';
import { retryAfterMs } from '../retry-after.js';
import { saysTooLong, shareThatFits } from '../too-long.js';

export const OPENAI_ADVICE = 'Check that the server runs, and OPENAI_BASE_URL';

const KEY_ADVICE = 'Check OPENAI_API_KEY';
const MODEL_ADVICE = 'Check OPENAI_MODEL';
const URL_ADVICE = 'Check OPENAI_BASE_URL, which ends in /v1 for most servers';
const BILLING_ADVICE = 'Check the plan and the billing of the account of OPENAI_API_KEY';

/** A part of a request that a server may not know, and can be asked without. */
export type Parameter = (typeof PARAMETERS)[number];

const PARAMETERS = [
  'tools',
  'max_tokens',
  'stream_options',
  'temperature',
  'top_p',
  'top_k',
  'seed',
  'stop',
  'reasoning',
] as const;

/** The server does not take a part of the request. */
export class LacksError extends ProviderError {
  readonly parameter: Parameter;

  constructor(parameter: Parameter, { failure, message, detail, status }: ProviderError) {
    super(failure, message, { detail, status });
    this.parameter = parameter;
  }
}

/** The error of a server, in a response or in the stream. */
export interface Complaint {
  /** Empty if it says nothing. */
  words: string;
  /** Such as `context_length_exceeded`, `429` or an error's name. Codes may be wrong, and numbers or text. */
  codes: readonly string[];
  /** The part of the request that it is about. */
  parameter: string;
}

/** The secrets that an error must not contain. */
export interface Secrets {
  apiKey: string | undefined;
  prompt: PromptTexts;
}

/** Reads `error` of a frame, or a whole body that has none. Each server has a form of its own. */
export function toComplaint(value: unknown): Complaint {
  if (typeof value === 'string') return { words: value, codes: [], parameter: '' };
  if (!isSchema(value)) return { words: '', codes: [], parameter: '' };
  const { message, detail, code, type, param, metadata } = value;
  const isModerated = isSchema(metadata) && 'reasons' in metadata;
  return {
    words: typeof message === 'string' ? message : wordsOfDetail(detail),
    codes: [code, type, isModerated ? 'content_filter' : undefined].flatMap((each) =>
      typeof each === 'string' || typeof each === 'number' ? String(each) : [],
    ),
    parameter: typeof param === 'string' ? param : '',
  };
}

/** FastAPI has text here, or a list of what is wrong with the fields. */
function wordsOfDetail(detail: unknown): string {
  if (typeof detail === 'string') return detail;
  if (!Array.isArray(detail)) return '';
  const problems = detail.filter(isSchema).map(({ loc, msg }) => {
    const field: unknown = Array.isArray(loc) ? loc.at(-1) : '';
    return `${String(field)}: ${String(msg)}`;
  });
  return problems.join('; ');
}

/** @returns the failure of a request that the server refuses. */
export async function explainRefusal(response: Response, secrets: Secrets): Promise<ProviderError> {
  const { status } = response;
  const complaint = toComplaint(await readError(response));
  const own = { ...complaint, words: withoutClientTexts(complaint.words, secrets.prompt) };
  const { failure, advice } = judge(status, own, secrets.apiKey);
  const refusal = {
    provider: 'openai',
    status,
    words: quoted(complaint.words, secrets),
    ...(advice !== undefined && { advice }),
  };
  if (isTooLong(status, complaint)) {
    return new TooLongError(detailOf(refusal), status, shareThatFits(complaint.words));
  }
  const error = refused({ ...refusal, failure, retryAfterMs: retryAfterMs(response.header) });
  const parameter = lackedBy(status, own);
  return parameter === undefined ? error : new LacksError(parameter, error);
}

/** The failure that a frame of the stream tells. Its code may be wrong, so it is not the visitor's fault. */
export function explainErrorFrame(value: unknown, secrets: Secrets): ProviderError {
  const complaint = toComplaint(value);
  const words = quoted(complaint.words, secrets);
  const detail = `openai failed while it answered${words && `: ${words}`}`;
  if (isFiltered(complaint)) return providerError('content_filter', detail);
  if (isTooLong(400, complaint)) return new TooLongError(detail, 200);
  return providerError(complaint.codes.includes('429') ? 'busy' : 'unavailable', detail);
}

async function readError(response: Response): Promise<unknown> {
  try {
    const body: unknown = JSON.parse(await response.body.text());
    return (isSchema(body) && body['error']) || body;
  } catch {
    return undefined;
  }
}

/** The words before the first markup or JSON, which gateways put at the end. */
function quoted(words: string, { apiKey, prompt }: Secrets): string {
  const plain = words.split(/[<{]/, 1)[0] ?? '';
  return quote(plain, textsOf(prompt), apiKey === undefined ? [] : [apiKey]);
}

function judge(
  status: number,
  complaint: Complaint,
  apiKey: string | undefined,
): { failure: ProviderFailure; advice?: string } {
  const { words, codes } = complaint;
  if (isFiltered(complaint)) return { failure: 'content_filter' };
  // OpenRouter's 402 and this code of OpenAI's 429 stay until somebody pays.
  if (status === 402 || codes.includes('insufficient_quota')) {
    return { failure: 'misconfigured', advice: BILLING_ADVICE };
  }
  // The model made a call that Groq could not read.
  if (codes.includes('tool_use_failed')) return { failure: 'unavailable' };
  if (status >= 300 && status < 400) return { failure: 'misconfigured', advice: URL_ADVICE };
  switch (status) {
    case 401:
    case 403: {
      const advice = apiKey === undefined ? 'Set OPENAI_API_KEY' : KEY_ADVICE;
      return { failure: 'misconfigured', advice };
    }
    case 404:
    case 405: {
      const advice = /model|endpoints/i.test(words) ? MODEL_ADVICE : URL_ADVICE;
      return { failure: 'misconfigured', advice };
    }
    case 400:
    case 422:
      return isModelUnknown(complaint)
        ? { failure: 'misconfigured', advice: MODEL_ADVICE }
        : { failure: 'bad_request' };
    default:
      return { failure: failureOf(status) };
  }
}

function isFiltered({ codes }: Complaint): boolean {
  return codes.some((code) => /^content_(?:filter|policy_violation)/.test(code));
}

function isModelUnknown({ words, codes }: Complaint): boolean {
  return (
    codes.includes('model_not_found') ||
    /invalid model name|model\b.{0,100}\b(?:not found|does not exist)|not a valid model/i.test(
      words,
    )
  );
}

function isTooLong(status: number, { words, codes }: Complaint): boolean {
  if (codes.includes('context_length_exceeded') || codes.includes('exceed_context_size_error')) {
    return true;
  }
  return status === 413 || ((status === 400 || status === 422) && saysTooLong(words));
}

const NO_TOOLS =
  /not support (?:tool|function)|support tool use|tools? (?:is|are) not supported|tool choice requires/i;
const NOT_TAKEN =
  /unsupported|not support|unknown|unrecognized|not permitted|unexpected|extra (?:field|input)/i;

/** @returns the part of the request that the server does not take; undefined if it is about something else. */
function lackedBy(status: number, { words, parameter }: Complaint): Parameter | undefined {
  if (status !== 400 && status !== 404 && status !== 422) return undefined;
  if (NO_TOOLS.test(words)) return 'tools';
  if (status === 404 || !NOT_TAKEN.test(words)) return undefined;
  const isNamed = (name: string): boolean =>
    parameter === name || new RegExp(`(?<![a-z_])${name}(?:_content)?(?![a-z_])`).test(words);
  return PARAMETERS.find(isNamed);
}
