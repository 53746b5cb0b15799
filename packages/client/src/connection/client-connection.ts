import type { Subscription } from 'rxjs';
import { createStateSubject } from '../state-subject.js';
import { randomId } from '../random-id.js';
import type { ClientOptions, ConnectionState } from '../types.js';
import { createServerConnection, type ServerConnection } from './server-connection.js';
import type { Connection, StreamHandler } from './connection.js';

/** The options of a client that concern its connection. */
export type ConnectionOptions = Pick<
  ClientOptions,
  'url' | 'path' | 'auth' | 'browserId' | 'idleCloseMs' | 'transports'
>;

const BROWSER_ID_KEY = 'rivulet:browser-id';

/**
 * Creates the connection of a client. While its server is shutting down, there is a second one for new questions; the
 * first one continues to read its streams, and closes after the last of them.
 */
export function createClientConnection(options: ConnectionOptions): Connection {
  const { browserId = storedBrowserId } = options;
  const state = createStateSubject<ConnectionState>();
  /** Ends the reading of each handler on the connection that it is on. */
  const removals = new Map<StreamHandler, () => void>();
  let keepOpenCount = 0;
  let releaseCurrent = (): void => {};
  let cachedBrowserId: string | undefined;
  let current = createConnection(false);
  let retired: ServerConnection[] = [];
  let stateSubscription = forwardState();

  function createConnection(forNewStreams: boolean): ServerConnection {
    return createServerConnection(options, {
      browserId: async () =>
        (cachedBrowserId ??= typeof browserId === 'string' ? browserId : await browserId()),
      forNewStreams,
      onRefusedStart: addHandler,
    });
  }

  function forwardState(): Subscription {
    return current.state$.subscribe(state);
  }

  function switchConnection(): void {
    const closing = current;
    // A connection without streams closes at once; the client does not.
    stateSubscription.unsubscribe();
    current = createConnection(true);
    releaseCurrent();
    if (keepOpenCount > 0) releaseCurrent = current.keepOpen();
    closing.drain();
    retired = [...retired.filter((connection) => !connection.isClosed), closing];
  }

  function connectionOf(streamId: string): ServerConnection {
    return retired.find((connection) => connection.reads(streamId)) ?? current;
  }

  function addHandler(handler: StreamHandler): void {
    const needsNextServer = handler.isUnaccepted && current.isServerClosing;
    if (needsNextServer) switchConnection();
    const connection = handler.isUnaccepted ? current : connectionOf(handler.id);
    removals.set(handler, connection.addHandler(handler));
    if (!needsNextServer) return;
    // The state of the new connection is forwarded from here on; it was idle before.
    stateSubscription = forwardState();
  }

  return {
    state$: state.value$,
    keepOpen() {
      keepOpenCount += 1;
      if (keepOpenCount === 1) releaseCurrent = current.keepOpen();
      return () => {
        keepOpenCount -= 1;
        if (keepOpenCount === 0) releaseCurrent();
      };
    },
    addHandler(handler) {
      addHandler(handler);
      return () => {
        removals.get(handler)?.();
        removals.delete(handler);
      };
    },
    reopen: (handler) => connectionOf(handler.id).reopen(handler),
    acknowledge: (streamId, offset) => connectionOf(streamId).acknowledge(streamId, offset),
    sendReliably: (event, message, replied) =>
      connectionOf(message.stream_id).sendReliably(event, message, replied),
    listStreams: (reply, changed) => current.listStreams(reply, changed),
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
