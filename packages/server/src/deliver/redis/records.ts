import type { ErrorCode, StreamStatus } from '@rivulet/protocol';
import type { Entry, ErrorEntry, NewsEntry } from '../../entry.js';
import type { PreparedRequest } from '../../hooks.js';
import { hash } from '../../redis/hash.js';
import type { GenerateRequest } from '../../request.js';
import type { ToolReply } from '../../tool-replies.js';
import type { ListedStream, StreamIdentity } from '../stream.js';
import type { StreamLimits } from '../stream-registry.js';

/** The identity of a stream in Redis, as JSON. */
export interface StreamRecord {
  principal: string;
  id: string;
  sessionId?: string;
  query: string;
  omitted: number;
  continued: number;
  requestId: string;
  epoch: string;
}

/** The data with which a process takes over a generation, as JSON. */
export interface RequestRecord {
  request: GenerateRequest;
  prepared?: PreparedRequest;
  connectionId?: string;
}

/** A message about a log. `gid` names the log, `sid` is the key of a stream. */
export type LogMessage =
  | ['append', gid: string, at: number, next: number, entries: Entry[]]
  | ['join', gid: string, sid: string, fingerprint: string, record: StreamRecord]
  | ['end', gid: string, sid: string, head: number, entry: ErrorEntry]
  | ['move', gid: string, sid: string, to: string]
  | ['detached', gid: string, sid: string, isDetached: boolean]
  | ['stop', gid: string, entry: ErrorEntry]
  | ['news', gid: string, news: NewsEntry]
  | ['reply', gid: string, callId: string, reply: ToolReply];

/** The messages on the channel of a process: lists of these, as JSON. */
export type Message = LogMessage | ['beat', count: number] | ['forget', principal: string];

/** @returns the key of a stream. It covers the principal, so that no client can name another's stream. */
export function sidOf(principal: string, id: string): string {
  return hash(JSON.stringify([principal, id]));
}

export function recordOf(identity: StreamIdentity, requestId: string, epoch: string): StreamRecord {
  const { principal, id, sessionId, query, omittedMessages = 0, continuedUnits = 0 } = identity;
  const session = sessionId !== undefined && { sessionId };
  return {
    principal,
    id,
    ...session,
    query,
    omitted: omittedMessages,
    continued: continuedUnits,
    requestId,
    epoch,
  };
}

export function identityOf({ omitted, continued, ...record }: StreamRecord): StreamIdentity {
  const { principal, id, sessionId, query } = record;
  return { principal, id, sessionId, query, omittedMessages: omitted, continuedUnits: continued };
}

export function listedOf(
  { id, sessionId, query }: StreamRecord,
  status: StreamStatus,
  offset: number,
  code: ErrorCode | '',
): ListedStream {
  return { id, sessionId, query, status, offset, code: code === '' ? undefined : code };
}

export function retentionMs({ finishedRetentionMs }: StreamLimits): number {
  return Math.max(1, finishedRetentionMs);
}

/** @returns the arguments by which scripts end streams: the entry, its code, milliseconds of retention. */
export function endArgs(entry: ErrorEntry, limits: StreamLimits): [string, ErrorCode, number] {
  return [JSON.stringify(entry), entry.code, retentionMs(limits)];
}
