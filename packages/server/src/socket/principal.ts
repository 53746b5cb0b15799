import { createHash, randomUUID } from 'node:crypto';
import type { Socket } from 'socket.io';

export interface Principal {
  id: string;
  /** Whether a later connection can be known as the same. */
  returns: boolean;
}

const MIN_BROWSER_ID_UNITS = 16;
const MAX_BROWSER_ID_UNITS = 128;

/**
 * Whose streams a socket may see. A browser that sends its own unguessable `browser_id` in the
 * handshake is found again when it reconnects; any other socket is a principal of its own. The id is
 * a secret of that browser, so it is hashed before it can reach a log.
 */
export function principalOf(socket: Socket): Principal {
  const id: unknown = socket.handshake.auth['browser_id'];
  const known =
    typeof id === 'string' &&
    id.length >= MIN_BROWSER_ID_UNITS &&
    id.length <= MAX_BROWSER_ID_UNITS;
  if (!known) return { id: `socket:${randomUUID()}`, returns: false };
  const hash = createHash('sha256').update(id).digest('base64url');
  return { id: `browser:${hash}`, returns: true };
}
