import type { Socket } from 'socket.io';

/** The longest delay of a timer in Node.js. */
const MAX_TIMER_MS = 2_147_483_647;

/** Disconnects the socket when its token expires. The client then reconnects with a new token. */
export function disconnectWhenExpired(socket: Socket, expiresAt: Date | undefined): void {
  if (expiresAt === undefined) return;
  let timer: NodeJS.Timeout | undefined;

  function wait(until: number): void {
    const leftMs = until - Date.now();
    if (leftMs <= 0) return void socket.disconnect();
    timer = setTimeout(wait, Math.min(leftMs, MAX_TIMER_MS), until);
    timer.unref();
  }

  wait(expiresAt.getTime());
  socket.once('disconnect', () => clearTimeout(timer));
}
