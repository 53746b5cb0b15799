import type { Subscription } from 'rxjs';
import { createLatest } from '../latest.js';
import { randomId } from '../random-id.js';
import type { ClientOptions, ConnectionState } from '../types.js';
import { createConnection, type ServerConnection } from './connection.js';
import type { Connection, Link } from './link.js';

/** What a client may choose of its connections. */
export type ConnectionOptions = Pick<
  ClientOptions,
  'url' | 'path' | 'auth' | 'browserId' | 'idleCloseMs' | 'transports'
>;

const BROWSER_ID_KEY = 'rivulet:browser-id';

/**
 * The connections of a client: one, and, while its server is shutting down, a second one for new questions.
 * The first continues to read its streams, and closes after the last of them.
 */
export function createConnections(options: ConnectionOptions): Connection {
  const { browserId = storedBrowserId } = options;
  const latest = createLatest<ConnectionState>();
  /** Ends the reading of each link on the connection that it is on. */
  const leaves = new Map<Link, () => void>();
  let holders = 0;
  let release = (): void => {};
  let ownId: string | undefined;
  let current = create(false);
  let retired: ServerConnection[] = [];
  let following = follow();

  function create(forNewStreams: boolean): ServerConnection {
    return createConnection(options, {
      browserId: async () =>
        (ownId ??= typeof browserId === 'string' ? browserId : await browserId()),
      forNewStreams,
      refusedNew: join,
    });
  }

  function follow(): Subscription {
    return current.state$.subscribe({
      next: latest.next,
      complete: latest.complete,
    });
  }

  function handOver(): void {
    const closing = current;
    current = create(true);
    release();
    if (holders > 0) release = current.hold();
    closing.retire();
    retired = [...retired.filter((connection) => !connection.isClosed), closing];
  }

  function connectionOf(streamId: string): ServerConnection {
    return retired.find((connection) => connection.has(streamId)) ?? current;
  }

  function join(link: Link): void {
    const isMoving = link.isNew && current.isClosing;
    if (isMoving) handOver();
    const connection = link.isNew ? current : connectionOf(link.id);
    leaves.set(link, connection.join(link));
    if (!isMoving) return;
    // Once it connects: it was idle before.
    following.unsubscribe();
    following = follow();
  }

  return {
    state$: latest.value$,
    hold() {
      holders += 1;
      if (holders === 1) release = current.hold();
      return () => {
        holders -= 1;
        if (holders === 0) release();
      };
    },
    join(link) {
      join(link);
      return () => {
        leaves.get(link)?.();
        leaves.delete(link);
      };
    },
    reopen: (link) => connectionOf(link.id).reopen(link),
    acknowledge: (streamId, offset) => connectionOf(streamId).acknowledge(streamId, offset),
    tell: (event, message, replied) =>
      connectionOf(message.stream_id).tell(event, message, replied),
    list: (reply, changed) => current.list(reply, changed),
    close() {
      for (const connection of [...retired, current]) connection.close();
    },
  };
}

/**
 * Returns the secret that identifies an anonymous browser to the server. All tabs of a browser have the
 * same one, also after a reload. Where `localStorage` is missing or blocked, each call returns a new one.
 */
function storedBrowserId(): string {
  try {
    const stored = localStorage.getItem(BROWSER_ID_KEY);
    if (stored !== null) return stored;
    const id = randomId();
    localStorage.setItem(BROWSER_ID_KEY, id);
    return id;
  } catch {
    return randomId();
  }
}
