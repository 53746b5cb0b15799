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
/** Enough for the longest question that the page takes, in UTF-8. */
const MAX_MESSAGE_BYTES = 150_000;
const MAX_KEPT = 50;

interface PlainAnswer {
  call: number;
  question: string;
  text: string;
  /** Undefined while the call runs. */
  end: { failure: string | undefined } | undefined;
}

export function createPlainServer(check: PageCheck): PlainServer {
  let io: Server | undefined;
  /** The newest answer to each question, the oldest first. */
  const newest = new Map<string, PlainAnswer>();
  let hasReaders = false;

  /** Socket.IO keeps each event for `RECOVERY_MS`, so none is emitted until a page reads. */
  function emit(question: string, event: string, ...values: unknown[]): void {
    if (hasReaders) io?.to(roomOf(question)).emit(event, ...values);
  }

  return {
    listener: {
      begin(call, question) {
        newest.delete(question);
        newest.set(question, { call, question, text: '', end: undefined });
        const [oldest] = newest.keys();
        if (newest.size > MAX_KEPT && oldest !== undefined) newest.delete(oldest);
        emit(question, 'begin', call, question);
      },
      text(call, question, text) {
        const answer = newest.get(question);
        if (answer?.call === call) answer.text += text;
        emit(question, 'text', call, text);
      },
      end(call, question, failure) {
        const answer = newest.get(question);
        if (answer?.call === call) answer.end = { failure };
        emit(question, 'end', call, failure ?? null);
      },
    },
    attach(http) {
      io = new Server(http, {
        path: PATH,
        transports: ['websocket'],
        serveClient: false,
        maxHttpBufferSize: MAX_MESSAGE_BYTES,
        connectionStateRecovery: { maxDisconnectionDuration: RECOVERY_MS },
        allowRequest(request, decide) {
          const token = new URL(request.url ?? '', 'http://localhost').searchParams.get('token');
          const hasRoom = (io?.engine.clientsCount ?? 0) < MAX_CONNECTIONS;
          decide(null, hasRoom && check.isOwnPage(request, token ?? undefined));
        },
      });
      io.on('connection', (socket) => {
        hasReaders = true;
        // The page says once for each of its questions which answer it reads, also in the middle of one.
        socket.on('follow', (asked: unknown) => {
          if (typeof asked !== 'string') return;
          for (const room of socket.rooms) if (room !== socket.id) void socket.leave(room);
          void socket.join(roomOf(asked));
          const answer = newest.get(asked);
          if (answer === undefined) return;
          const { call, question, text, end } = answer;
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

/** The readers of the answer to a question. No socket has an id of this form. */
function roomOf(question: string): string {
  return `question:${question}`;
}
