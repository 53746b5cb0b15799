import type { Server as HttpServer } from 'node:http';
import { Server } from 'socket.io';
import type { CallListener } from './recorder.js';
import type { PageCheck } from './page-check.js';

/** Sends the same answers over Socket.IO as an application without Rivulet would: an event for each text. */
export interface PlainServer {
  readonly listener: CallListener;
  attach(http: HttpServer): void;
  detach(): void;
}

const PATH = '/lab/socket.io';
const MAX_CONNECTIONS = 8;
const RECOVERY_MS = 120_000;

interface NewestAnswer {
  call: number;
  question: string;
  text: string;
  /** Undefined while the call runs. */
  end: { failure: string | undefined } | undefined;
}

export function createPlainServer(check: PageCheck): PlainServer {
  let io: Server | undefined;
  let newest: NewestAnswer | undefined;
  let hasReaders = false;
  /** Socket.IO keeps each event for `RECOVERY_MS`, so none is emitted until a page reads. */
  function emit(event: string, ...values: unknown[]): void {
    if (hasReaders) io?.emit(event, ...values);
  }

  return {
    listener: {
      begin(call, question) {
        newest = { call, question, text: '', end: undefined };
        emit('begin', call, question);
      },
      text(call, text) {
        if (newest?.call === call) newest.text += text;
        emit('text', call, text);
      },
      end(call, failure) {
        if (newest?.call === call) newest.end = { failure };
        emit('end', call, failure ?? null);
      },
    },
    attach(http) {
      io = new Server(http, {
        path: PATH,
        transports: ['websocket'],
        serveClient: false,
        maxHttpBufferSize: 1_000,
        connectionStateRecovery: { maxDisconnectionDuration: RECOVERY_MS },
        allowRequest(request, decide) {
          const token = new URL(request.url ?? '', 'http://localhost').searchParams.get('token');
          const hasRoom = (io?.engine.clientsCount ?? 0) < MAX_CONNECTIONS;
          decide(null, hasRoom && check.isOwnPage(request, token ?? undefined));
        },
      });
      io.on('connection', (socket) => {
        hasReaders = true;
        // The page asks once, when its column opens in the middle of an answer.
        socket.once('replay', () => {
          if (newest === undefined) return;
          const { call, question, text, end } = newest;
          socket.emit('begin', call, question);
          socket.emit('text', call, text);
          if (end !== undefined) socket.emit('end', call, end.failure ?? null);
        });
      });
    },
    detach() {
      io?.engine.close();
      io = undefined;
    },
  };
}
