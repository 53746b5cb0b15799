import { randomUUID } from 'node:crypto';
import {
  type DoneReply,
  LIMITS,
  StreamError,
  type StreamListReply,
  type StreamReply,
  type StreamStartRequest,
} from '@rivulet/protocol';
import {
  ackSchema,
  resumeSchema,
  cancelSchema,
  detachSchema,
  listSchema,
  startSchema,
  toolReplySchema,
} from '@rivulet/protocol/schema';
import { type Log, slicesOf } from '../deliver/log.js';
import type { Stream } from '../deliver/stream.js';
import type { StreamDirectory } from '../deliver/stream-directory.js';
import type { Logger } from '../observe/logger.js';
import { isUserId } from '../request.js';
import type { Admission } from './guard.js';
import { parse } from './parse.js';
import type { RateLimits } from './rate-limits.js';
import { StreamWatch, summaryOf } from './stream-watch.js';
import type { SubscribeOptions, Subscriptions } from './subscriptions.js';

/**
 * Carries out the requests of one connection. Each method receives the raw message and throws a
 * `StreamError`. `arrival` numbers the requests of all connections in the order in which they came.
 */
export class Requests {
  readonly #requester: Admission;
  readonly #connectionId: string;
  readonly #streams: StreamDirectory;
  readonly #subscriptions: Subscriptions;
  readonly #limits: RateLimits;
  #watch: StreamWatch | undefined;
  readonly #logger: Logger;

  constructor(
    requester: Admission,
    subscriptions: Subscriptions,
    { streams, limits, logger }: { streams: StreamDirectory; limits: RateLimits; logger: Logger },
  ) {
    this.#requester = requester;
    this.#connectionId = requester.account.connectionId;
    this.#streams = streams;
    this.#subscriptions = subscriptions;
    this.#limits = limits;
    this.#logger = logger;
  }

  async start(raw: unknown, arrival: number): Promise<StreamReply> {
    refuseParts(raw);
    const message = parse(startSchema, raw);
    refuseCombinations(message);
    const { principal, address } = this.#requester;
    const { stream_id: id = randomUUID(), session_id: sessionId, reader_id: readerId } = message;
    const {
      query,
      intent,
      context,
      options,
      client_tools: clientTools = [],
      omitted_messages: omittedMessages = 0,
      continue_text: continueText = '',
      window,
    } = message;
    const request = {
      query,
      ...(intent && { intent }),
      ...(context && { context }),
      ...(options && { options }),
      ...(clientTools.length > 0 && { clientTools }),
      ...(continueText !== '' && { continueText }),
      ...(omittedMessages > 0 && { omittedMessages }),
      principal,
      // One address can invent any number of browsers.
      ...(!isUserId(principal) && { fairnessKey: `address:${address}` }),
    };
    const listed = flatSlice(query, LIMITS.listedQueryUnits);
    const continuedUnits = continueText.length;
    const identity = { principal, id, sessionId, query: listed, omittedMessages, continuedUnits };
    const has = this.#streams.has(principal, id);
    const isRepeated = typeof has === 'boolean' ? has : await has;
    if (!isRepeated) await this.#limits.start(this.#requester);
    const started = this.#streams.start(identity, request, this.#connectionId);
    const stream = started instanceof Promise ? await started : started;
    const { requestId, answerId } = stream;
    const ids = { requestId, connectionId: this.#connectionId };
    // Log lines of the answer have the id of the generation's first stream.
    if (answerId === requestId) this.#logger.debug({ event: 'STREAM_STARTED', ...ids });
    else this.#logger.info({ event: 'STREAM_SHARES_ANSWER', ...ids, answerRequestId: answerId });
    return this.#read(stream, { offset: 0, window, readerId, arrival });
  }

  async resume(raw: unknown, arrival: number): Promise<StreamReply> {
    const message = parse(resumeSchema, raw);
    const { stream_id, offset, epoch, attempt, window, reader_id: readerId } = message;
    await this.#limits.resume(this.#requester);
    const found = this.#find(stream_id);
    const stream = found instanceof Promise ? await found : found;
    const { log, requestId } = stream;
    const connectionId = this.#connectionId;
    this.#logger.debug({ event: 'STREAM_RESUMED', requestId, connectionId, offset });
    // A plain reader counts its StreamAcceptedMessage, even if the log has no start entry yet.
    const isShifted = window === undefined && log.start === undefined;
    const head = isShifted ? log.head + 1 : log.head;
    const known = log.start?.attempt ?? 0;
    const isOther = epoch !== stream.epoch || offset > head || (attempt ?? 0) > known;
    if (epoch !== undefined && isOther) {
      return { ...this.#read(stream, { offset: 0, window, readerId, arrival }), reset: true };
    }
    if (offset > head) {
      throw new StreamError(
        'bad_request',
        `unable to read from offset ${offset}: the stream ends at ${head}; resume from an offset that was received`,
      );
    }
    const from = attempt !== undefined && attempt < known ? newerStart(log, attempt) : offset;
    return this.#read(stream, {
      offset: Math.min(offset, from),
      window,
      readerId,
      arrival,
    });
  }

  async ack(raw: unknown): Promise<DoneReply> {
    const { stream_id, offset } = parse(ackSchema, raw);
    this.#subscriptions.ack(await this.#find(stream_id), offset);
    return { ok: true };
  }

  async cancel(raw: unknown): Promise<DoneReply> {
    await this.#streams.cancel(await this.#find(parse(cancelSchema, raw).stream_id));
    return { ok: true };
  }

  async detach(raw: unknown): Promise<DoneReply> {
    const { stream_id, reader_id: readerId } = parse(detachSchema, raw);
    this.#subscriptions.unsubscribe(await this.#find(stream_id), readerId);
    return { ok: true };
  }

  async toolReply(raw: unknown): Promise<DoneReply> {
    const { stream_id, call_id, approved, error, result } = parse(toolReplySchema, raw);
    const stream = await this.#find(stream_id);
    const reply =
      approved !== undefined ? { approved } : error !== undefined ? { error } : { result };
    await this.#streams.reply(stream, call_id, reply);
    return { ok: true };
  }

  async list(raw: unknown): Promise<StreamListReply> {
    const { watch } = parse(listSchema, raw ?? {});
    const { principal } = this.#requester;
    if (watch === true)
      this.#watch ??= new StreamWatch(this.#streams, principal, this.#subscriptions.outbox);
    if (watch === false) this.disconnect();
    const running = await this.#streams.running(principal);
    this.#watch?.setListed(running);
    return { ok: true, streams: running.map(summaryOf) };
  }

  /** Stops watching streams. */
  disconnect(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  #find(id: string): Stream | Promise<Stream> {
    return this.#streams.get(this.#requester.principal, id);
  }

  #read(stream: Stream, options: SubscribeOptions): StreamReply {
    const { status, log, epoch, continuedUnits } = stream;
    const attempt = log.start?.attempt ?? 0;
    const ref = this.#subscriptions.subscribe(stream, options);
    return {
      ok: true,
      stream_id: stream.id,
      status,
      epoch,
      attempt,
      ...(continuedUnits > 0 && { continued_units: continuedUnits }),
      request_id: stream.requestId,
      ...(ref !== undefined && { ref }),
    };
  }
}

/** @returns the offset of the first start of an attempt after `attempt`, which is in the log. */
function newerStart(log: Log, attempt: number): number {
  for (const { entry, offset } of slicesOf(log)) {
    if (entry.type === 'start' && entry.attempt > attempt) return offset;
  }
  return log.head;
}

/** Copies the beginning of a text. V8's own slice would keep the whole text in memory. */
function flatSlice(text: string, units: number): string {
  return Buffer.from(text.slice(0, units), 'utf16le').toString('utf16le');
}

/** An answer that continues a text, or is JSON of a schema, has no tools. The two cannot be combined. */
function refuseCombinations({ client_tools, continue_text, options }: StreamStartRequest): void {
  const given = Object.entries({
    client_tools: client_tools?.length,
    continue_text,
    'options.response_schema': options?.response_schema,
  }).flatMap(([name, value]) => (value ? [`\`${name}\``] : []));
  if (given.length > 1) throw unsupported(`${given.join(' and ')} cannot be combined`);
}

/** Refuses lists of parts, such as images, with a separate code, so that a client can fall back to text. */
function refuseParts(raw: unknown): void {
  if (!isObject(raw)) return;
  const context = Array.isArray(raw['context']) ? raw['context'] : [];
  const contents = context
    .slice(0, LIMITS.contextMessages)
    .map((message: unknown) => (isObject(message) ? message['content'] : undefined));
  if (![raw['query'], ...contents].some(Array.isArray)) return;
  throw unsupported('it has parts that are not text; send `query` and `content` as strings');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function unsupported(reason: string): StreamError {
  return new StreamError('unsupported', `unable to carry out the request: ${reason}`);
}
