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

/** @returns a frozen copy without the abort signal, which belongs to one answer only. */
export function copyRequest({ options, ...request }: AnswerRequest): AnswerRequest {
  const { signal: _, ...rest } = options ?? {};
  return Object.freeze({ ...request, ...(options && { options: Object.freeze(rest) }) });
}

/** @returns the message for the wire. It is a copy, because the proxies of a framework cannot be cloned. */
export function toStartRequest(id: string, readerId: string, request: AnswerRequest): StartRequest {
  return {
    type: EVENT.start,
    stream_id: id,
    reader_id: readerId,
    query: request.query,
    ...(request.sessionId !== undefined && { session_id: request.sessionId }),
    ...(request.intent !== undefined && { intent: copyIntent(request.intent) }),
    ...(request.context !== undefined && { context: request.context.map(copyMessage) }),
    ...(request.continueText && { continue_text: request.continueText }),
    ...(request.tools?.length && { client_tools: request.tools.map(wireTool) }),
    ...((request.options || request.output) && { options: wireOptions(request) }),
    ...(request.omittedMessages && { omitted_messages: request.omittedMessages }),
    window: WINDOW_UNITS,
  };
}

function copyMessage({ role, content }: ContextMessage): ContextMessage {
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
  // JSON leaves out what is undefined.
  return {
    temperature,
    top_p: topP,
    top_k: topK,
    max_tokens: maxTokens,
    stop: stop && [...stop],
    seed,
    thoughts: thoughts || undefined,
    response_schema: output && jsonSchemaOf(output),
    cache: cache === 'reload' || cache === 'no-store' ? cache : undefined,
  };
}

/** Checks the limits of the server here, because a message that is too large ends the connection. */
export function validateRequest(request: StreamStartRequest): StreamError | undefined {
  if (typeof request.query !== 'string' || request.query.trim() === '') {
    return new StreamError('bad_request', 'unable to ask: the question is blank; write one');
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
