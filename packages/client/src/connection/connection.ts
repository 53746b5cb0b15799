import type {
  DoneReply,
  ErrorReply,
  EVENT,
  StreamDetachRequest,
  StreamListReply,
  StreamReply,
  StreamResumeRequest,
  StreamStartRequest,
  StreamSummary,
  StreamToolReplyRequest,
  WireError,
} from '@rivulet/protocol';
import type { Observable } from 'rxjs';
import type { ConnectionState, LoadingModel } from '../types.js';
import type { LogSegment } from './log-segment.js';

/** A request after which the server sends a stream. */
export type OpenRequest = (StreamStartRequest | StreamResumeRequest) & {
  type: typeof EVENT.start | typeof EVENT.resume;
};

/** Handles the messages of one stream. */
export interface StreamHandler {
  readonly id: string;
  /** True until a server has accepted the question. */
  readonly isUnaccepted: boolean;
  /** @returns the request that starts or resumes the stream; called for each new connection. */
  request(): OpenRequest;
  /** The server has replied to `request`. Not called if the connection breaks first. */
  onReply(reply: StreamReply | ErrorReply): void;
  /** The connection was lost or could not be established. The client tries again. */
  onDisconnect(): void;
  /** The server refused the connection, and a new attempt would be refused too. */
  onRefused(error: WireError): void;
  onSegment(segment: LogSegment): void;
  /** The position in the queue has changed: `ahead` requests are before the stream; 0 when it has left the queue. */
  onQueued(ahead: number): void;
  /** The model is being loaded, until the next segment or queue position. */
  onLoading(model: LoadingModel): void;
  /** The client was closed. */
  onClosed(): void;
}

/** A message that is sent again on each connection until the server has replied. */
export interface ReliableMessage {
  event: typeof EVENT.cancel | typeof EVENT.detach | typeof EVENT.toolReply;
  message: StreamDetachRequest | StreamToolReplyRequest;
  /** Called with the reply of the server. */
  onReply?: ((reply: DoneReply | ErrorReply) => void) | undefined;
}

/** The connection of a client, for all its streams. It is opened when it is first needed. */
export interface Connection {
  /** The state now, then each change; completes with `close()`. Subscribing does not connect. */
  readonly state$: Observable<ConnectionState>;
  /** Connects, and keeps the socket open until the returned function is called. */
  keepOpen(): () => void;
  /**
   * Sends the request of `handler` as soon as there is a connection, and again on each new connection.
   *
   * @returns a function that removes the handler.
   */
  addHandler(handler: StreamHandler): () => void;
  /** Sends the request of `handler` again, because entries are missing. */
  reopen(handler: StreamHandler): void;
  acknowledge(streamId: string, offset: number): void;
  /** Sends the message on each new connection until the server has replied to it. */
  sendReliably(
    event: ReliableMessage['event'],
    message: ReliableMessage['message'],
    onReply?: ReliableMessage['onReply'],
  ): void;
  /**
   * Asks which streams of this user are running. No reply comes if the connection breaks first. `changed` is
   * called with each later change, until the connection ends.
   */
  listStreams(
    onReply: (answer: StreamListReply | ErrorReply) => void,
    onChange: (stream: StreamSummary) => void,
  ): void;
  close(): void;
}
