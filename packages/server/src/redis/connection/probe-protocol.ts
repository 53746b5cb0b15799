import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

const PROBE_MS = 1_000;
const DEFAULT_PORT = 6379;

/**
 * Looks whether a Redis that cannot be reached speaks TLS although the URL says that it does not, or the reverse.
 *
 * @returns what to do; undefined if that is not the fault.
 */
export async function probeProtocol(url: string): Promise<string | undefined> {
  const { protocol, hostname, port } = new URL(url);
  const address = {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? DEFAULT_PORT : Number(port),
  };
  if (protocol === 'rediss:') {
    const socket = connectPlain(address);
    socket.once('connect', () => socket.write('PING\r\n'));
    const isPlain = await settled(socket, (is) =>
      // A reply is `+PONG`, or an error such as `-NOAUTH`.
      socket.once('data', (data) => is(/^[+-]/.test(data.toString('latin1')))),
    );
    return isPlain
      ? 'REDIS_URL begins with rediss://, and this port speaks no TLS; use redis://, or the port for TLS'
      : undefined;
  }
  // Nothing is sent over the connection, so the certificate does not matter.
  const socket = connectTls({ ...address, rejectUnauthorized: false });
  const isTls = await settled(socket, (is) => socket.once('secureConnect', () => is(true)));
  return isTls
    ? 'REDIS_URL begins with redis://, and this port speaks TLS; use rediss://, or the port without TLS'
    : undefined;
}

async function settled(socket: Socket, listen: (is: (value: boolean) => void) => void) {
  try {
    return await new Promise<boolean>((resolve) => {
      listen(resolve);
      for (const event of ['error', 'close', 'timeout']) socket.once(event, () => resolve(false));
      socket.setTimeout(PROBE_MS);
    });
  } finally {
    socket.on('error', () => {});
    socket.destroy();
  }
}
