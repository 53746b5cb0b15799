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

export function createPlainServer(check: PageCheck): PlainServer {
  let io: Server | undefined;
  const emit = (event: string, ...values: unknown[]): void => void io?.emit(event, ...values);

  return {
    listener: {
      begin: (call, question) => emit('begin', call, question),
      text: (call, text) => emit('text', call, text),
      end: (call, failure) => emit('end', call, failure ?? null),
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
    },
    detach() {
      io?.engine.close();
      io = undefined;
    },
  };
}
