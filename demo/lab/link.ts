import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';

/** A TCP proxy before a server of this machine, that can be made to fail. */
export interface Link {
  readonly listener: Server;
  /** Sends new connections to the server at this address. */
  leadTo(address: AddressInfo): void;
  /** Breaks every connection; new ones are taken. */
  cut(): void;
  /** Breaks every connection and takes none until `up()`. */
  down(): void;
  up(): void;
  /** @param bytesPerSecond of each connection and direction; undefined for no limit. */
  limit(bytesPerSecond: number | undefined): void;
  close(): void;
}

const SLICES_PER_SECOND = 10;

export function createLink(): Link {
  const open = new Set<Socket>();
  let target: AddressInfo | undefined;
  let isDown = false;
  let bytesPerSecond: number | undefined;

  /** Passes bytes on at the speed of the moment. The sender waits meanwhile. */
  function throttle(): Transform {
    return new Transform({
      highWaterMark: 1_024,
      transform(chunk: Buffer, _, done) {
        void passSlowly(this, chunk).then(() => done(), done);
      },
    });
  }

  async function passSlowly(pipe: Transform, chunk: Buffer): Promise<void> {
    let rest = chunk;
    while (rest.length > 0 && bytesPerSecond !== undefined) {
      const units = Math.max(1, Math.round(bytesPerSecond / SLICES_PER_SECOND));
      await wait(1_000 / SLICES_PER_SECOND);
      pipe.push(rest.subarray(0, units));
      rest = rest.subarray(units);
    }
    if (rest.length > 0) pipe.push(rest);
  }

  const listener = createServer((near) => {
    if (isDown || target === undefined) return void near.destroy();
    const far = connect({
      host: target.address,
      port: target.port,
      // The server counts by address, and this machine has many.
      ...(near.remoteAddress?.startsWith('127.') && { localAddress: near.remoteAddress }),
    });
    near.setNoDelay(true);
    far.setNoDelay(true);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from);
      from.pipe(throttle()).pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        open.delete(from);
        // Where it ended in order, the pipe ends the other side behind the last bytes.
        if (!from.readableEnded) to.destroy();
      });
    }
  });

  function cut(): void {
    for (const socket of open) socket.resetAndDestroy();
  }

  return {
    listener,
    leadTo: (address) => void (target = address),
    cut,
    down() {
      isDown = true;
      cut();
    },
    up: () => void (isDown = false),
    limit: (rate) => void (bytesPerSecond = rate),
    close() {
      listener.close();
      cut();
    },
  };
}
