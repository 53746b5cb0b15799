import type {
  ErrorReply,
  EVENT,
  StreamResumeRequest,
  StreamReply,
  StreamStartRequest,
  WireError,
} from '@rivulet/protocol';
import type { LoadingModel } from '../types.js';
import type { Frame } from './frame.js';

/** What has a server send a stream. */
export type OpenRequest = (StreamStartRequest | StreamResumeRequest) & {
  type: typeof EVENT.start | typeof EVENT.resume;
};

/** A stream's end of the connection. */
export interface Link {
  readonly id: string;
  /** True if no server is known to have the stream. */
  readonly isNew: boolean;
  /** What has the server send the stream from here on; asked for at each connect. */
  request(): OpenRequest;
  /** The server's reply to `request`, unless the connection goes first. */
  replied(reply: StreamReply | ErrorReply): void;
  /** The connection is gone, or could not be made. It will be tried again. */
  disconnected(): void;
  /** The server does not let this client in, and trying again is of no use. */
  refused(error: WireError): void;
  receive(frame: Frame): void;
  /** How many are before the stream in a queue; 0 when it has left that. */
  queued(ahead: number): void;
  /** The model is being loaded, until the next frame or news. */
  loading(model: LoadingModel): void;
  /** The client was closed. */
  closed(): void;
}
