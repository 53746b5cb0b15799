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

/** What has a server send a stream. */
export type OpenRequest = (StreamStartRequest | StreamResumeRequest) & {
  type: typeof EVENT.start | typeof EVENT.resume;
};

/** A stream's end of the connection. */
export interface StreamHandler {
  readonly id: string;
  /** True if no server is known to have the stream. */
  readonly isUnaccepted: boolean;
  /** What has the server send the stream from here on; asked for at each connect. */
  request(): OpenRequest;
  /** The server's reply to `request`, unless the connection goes first. */
  onReply(reply: StreamReply | ErrorReply): void;
  /** The connection is gone, or could not be made. It will be tried again. */
  onDisconnect(): void;
  /** The server does not let this client in, and trying again is of no use. */
  onRefused(error: WireError): void;
  onSegment(segment: LogSegment): void;
  /** How many are before the stream in a queue; 0 when it has left that. */
  onQueued(ahead: number): void;
  /** The model is being loaded, until the next frame or news. */
  onLoading(model: LoadingModel): void;
  /** The client was closed. */
  onClosed(): void;
}

/** A message that a server has to get, even if the connection breaks before. */
export interface ReliableMessage {
  event: typeof EVENT.cancel | typeof EVENT.detach | typeof EVENT.toolReply;
  message: StreamDetachRequest | StreamToolReplyRequest;
  /** Called with the reply of the server. */
  onReply?: ((reply: DoneReply | ErrorReply) => void) | undefined;
}

/** One socket for all streams of a client. It is opened when it is first needed. */
export interface Connection {
  /** The state now, then each change; completes with `close()`. Subscribing does not connect. */
  readonly state$: Observable<ConnectionState>;
  /** Connects, and keeps the socket open until the returned function is called. */
  keepOpen(): () => void;
  /** Opens `link` now or as soon as there is a connection, and again on each new connection. */
  addHandler(handler: StreamHandler): () => void;
  /** Opens `link` again, since something of it is missing. */
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
