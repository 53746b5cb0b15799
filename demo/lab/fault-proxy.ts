import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';

/** A TCP proxy before a server of this machine, that can be made to fail. */
export interface FaultProxy {
  readonly listener: Server;
  /** Sends new connections to the server at this address. */
  setTarget(address: AddressInfo): void;
  /** Breaks every connection; new ones are taken. */
  cut(): void;
  /** Breaks every connection and takes none until `up()`. */
  down(): void;
  up(): void;
  /** @param bytesPerSecond of each connection and direction; undefined for no limit. */
  limit(bytesPerSecond: number | undefined): void;
  close(): void;
}

const SLICE_MS = 100;

export function createFaultProxy(): FaultProxy {
  const sockets = new Set<Socket>();
  let target: AddressInfo | undefined;
  let isDown = false;
  let bytesPerSecond: number | undefined;

  /** Passes bytes on at the speed of the moment. The sender waits meanwhile. */
  async function* throttle(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      let rest = chunk;
      for (let size = sliceBytes(); size < rest.length; size = sliceBytes()) {
        await wait(SLICE_MS);
        yield rest.subarray(0, size);
        rest = rest.subarray(size);
      }
      if (bytesPerSecond !== undefined) await wait(SLICE_MS);
      yield rest;
    }
  }

  const sliceBytes = (): number =>
    bytesPerSecond === undefined ? Infinity : Math.ceil((bytesPerSecond * SLICE_MS) / 1_000);

  const listener = createServer((client) => {
    if (isDown || target === undefined) return void client.destroy();
    const upstream = connect({
      host: target.address,
      port: target.port,
      // The server counts by address, and this machine has many.
      ...(client.remoteAddress?.startsWith('127.') && { localAddress: client.remoteAddress }),
    });
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('close', () => sockets.delete(from));
      // Either side's failure ends both.
      pipeline(from, throttle, to, () => {});
    }
  });

  function cut(): void {
    for (const socket of sockets) socket.resetAndDestroy();
  }

  return {
    listener,
    setTarget: (address) => void (target = address),
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
