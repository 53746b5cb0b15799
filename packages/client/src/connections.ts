import { Observable, type Subscription } from 'rxjs';
import { browserId } from './browser-id.js';
import { type Connection, createConnection, type ServerConnection } from './connection.js';
import { createLatest } from './latest.js';
import type { Link } from './link.js';
import type { ClientOptions, ConnectionStatus } from './types.js';

/**
 * The connections of a client: one, and, while its server is shutting down, a second one for new questions.
 * The first continues to read its streams, and closes after the last of them.
 */
export function createConnections(
  url: string | undefined,
  auth: ClientOptions['auth'],
): Connection {
  const status = createLatest<ConnectionStatus>();
  /** Ends the reading of each link on the connection that it is on. */
  const leaves = new Map<Link, () => void>();
  let ownId: string | undefined;
  let current = create(false);
  let retired: ServerConnection[] = [];
  let following: Subscription | undefined;

  function create(forNewStreams: boolean): ServerConnection {
    return createConnection(url, auth, {
      browserId: () => (ownId ??= browserId()),
      forNewStreams,
      refusedNew: join,
    });
  }

  function follow(): void {
    following?.unsubscribe();
    following = current.status$.subscribe({
      next: (value) => status.next(value),
      complete: () => status.complete(),
    });
  }

  function handOver(): void {
    const closing = current;
    current = create(true);
    if (following !== undefined) follow();
    closing.retire();
    retired = [...retired.filter((connection) => !connection.isClosed), closing];
  }

  function connectionOf(streamId: string): ServerConnection {
    return retired.find((connection) => connection.has(streamId)) ?? current;
  }

  function join(link: Link): void {
    if (link.isNew && current.isClosing) handOver();
    const connection = link.isNew ? current : connectionOf(link.id);
    leaves.set(link, connection.join(link));
  }

  return {
    status$: new Observable((subscriber) => {
      if (following === undefined) follow();
      return status.value$.subscribe(subscriber);
    }),
    join(link) {
      join(link);
      return () => {
        leaves.get(link)?.();
        leaves.delete(link);
      };
    },
    reopen: (link) => connectionOf(link.id).reopen(link),
    acknowledge: (streamId, offset) => connectionOf(streamId).acknowledge(streamId, offset),
    tell: (event, message) => connectionOf(message.stream_id).tell(event, message),
    list: (reply) => current.list(reply),
    close() {
      for (const connection of [...retired, current]) connection.close();
    },
  };
}
