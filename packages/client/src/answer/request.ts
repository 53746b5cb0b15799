import {
  type ClientTool as WireTool,
  EVENT,
  type GenerateOptions,
  type Intent,
  REQUEST_LIMITS,
  StreamError,
  type StreamStartRequest,
  type ContextMessage,
} from '@rivulet/protocol';
import { byteLength } from '../byte-length.js';
import { jsonSchemaOf } from '../schema.js';
import type { AnswerRequest, ClientTool } from '../types.js';

/** Offset units that the server may send beyond what was acknowledged. */
export const WINDOW_UNITS = 16_384;

/** A start that names its stream and its reader. */
export type StartRequest = StreamStartRequest & {
  type: typeof EVENT.start;
  stream_id: string;
  reader_id: string;
};

/** A copy of a question, to be asked again. It has no signal: that was for one answer. */
export function copyOf({ options, ...request }: AnswerRequest): AnswerRequest {
  const { signal: _, ...rest } = options ?? {};
  return Object.freeze({ ...request, ...(options && { options: Object.freeze(rest) }) });
}

/** A question as it goes on the wire: a copy, since a framework's proxies cannot be cloned. */
export function startRequest(id: string, readerId: string, ask: AnswerRequest): StartRequest {
  const options = wireOptions(ask);
  return {
    type: EVENT.start,
    stream_id: id,
    reader_id: readerId,
    query: ask.query,
    ...(ask.sessionId !== undefined && { session_id: ask.sessionId }),
    ...(ask.intent !== undefined && { intent: copyIntent(ask.intent) }),
    ...(ask.context !== undefined && { context: ask.context.map(copyTurn) }),
    ...(ask.continueText && { continue_text: ask.continueText }),
    ...(ask.tools?.length && { client_tools: ask.tools.map(wireTool) }),
    ...(Object.keys(options).length > 0 && { options }),
    ...(ask.omittedMessages && { omitted_messages: ask.omittedMessages }),
    window: WINDOW_UNITS,
  };
}

function copyTurn({ role, content }: ContextMessage): ContextMessage {
  return { role, content };
}

function copyIntent({ name, parameters }: Intent): Intent {
  return { name, ...(parameters !== undefined && { parameters: { ...parameters } }) };
}

function wireTool({ name, description, parameters }: ClientTool): WireTool {
  return { name, description, parameters: jsonSchemaOf(parameters) };
}

function wireOptions({ options = {}, output }: AnswerRequest): GenerateOptions {
  const { temperature, topP, topK, maxTokens, stop, seed, thoughts, cache } = options;
  const toServer = cache === 'reload' || cache === 'no-store' ? cache : undefined;
  return {
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { top_p: topP }),
    ...(topK !== undefined && { top_k: topK }),
    ...(maxTokens !== undefined && { max_tokens: maxTokens }),
    ...(stop !== undefined && { stop: [...stop] }),
    ...(seed !== undefined && { seed }),
    ...(thoughts && { thoughts }),
    ...(output && { response_schema: jsonSchemaOf(output) }),
    ...(toServer !== undefined && { cache: toServer }),
  };
}

/** The server refuses these too; a message over its limit would even cost the connection. */
export function refusal(request: StreamStartRequest): StreamError | undefined {
  if (typeof request.query !== 'string' || request.query.trim() === '') {
    return new StreamError('bad_request', 'unable to ask: query must be a non-blank string');
  }
  const bytes = byteLength(JSON.stringify(request));
  if (
    request.query.length <= REQUEST_LIMITS.queryUnits &&
    bytes < REQUEST_LIMITS.messageBytes - 1024
  )
    return undefined;
  return new StreamError(
    'bad_request',
    `unable to ask: query must be at most ${REQUEST_LIMITS.queryUnits} UTF-16 units, and the request ` +
      `${REQUEST_LIMITS.messageBytes} bytes`,
  );
}
