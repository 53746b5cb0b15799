import { randomUUID } from 'node:crypto';
import {
  type Authenticate,
  createLogger,
  createServer,
  docs,
  type RivuletServer,
  type ServerOptions,
} from '@rivulet/server';
import { PATIENT } from '../../harness/providers.js';
import { ownKeys } from '../../harness/redis.js';
import { type Description, type Kind, KINDS, type Served } from '../suite/script.js';
import { type Perform, SCRIPT_TOOLS, scripts } from './scripts.js';

// The server that the suite runs against when it is given no other: ours, with a model that plays
// scripts, and more of them for `serve`.

const plain = docs({ wordMs: 1 });
const served = new Map<string, RivuletServer>();

const perform: Perform = async (step) => {
  if ('describe' in step) {
    return JSON.stringify({ conformance: 1, serves: [...KINDS] } satisfies Description);
  }
  if ('serve' in step) return JSON.stringify(await serve(step.serve));
  const server = served.get(step.close);
  void server?.drain().then(() => server.close());
  return 'it closes';
};

const NO_LIMIT: ServerOptions = { rateLimit: { requests: 1_000_000 } };
const SHORT_MS = 3_000;
const DRAIN_SECONDS = 5;
const STARTS = 3;

async function serve(kind: Kind): Promise<Served> {
  switch (kind) {
    case 'one_place':
      return { url: await start({ concurrency: 1 }) };
    case 'loads':
      return { url: await start() };
    case 'token': {
      const [mine, other, short] = [randomUUID(), randomUUID(), randomUUID()];
      const users = new Map<string, string>([
        [mine, 'one'],
        [other, 'another'],
        [short, 'one'],
      ]);
      const expiresAt = new Map<string, Date>();
      const authenticate: Authenticate = ({ token = '' }) => {
        const principal = users.get(token);
        if (token === short && !expiresAt.has(short)) {
          expiresAt.set(short, new Date(Date.now() + SHORT_MS));
        }
        const until = expiresAt.get(token);
        return principal === undefined
          ? undefined
          : { principal, ...(until !== undefined && { expiresAt: until }) };
      };
      return {
        url: await start({ options: { authenticate } }),
        tokens: [mine, other],
        short_token: short,
      };
    }
    case 'limited': {
      const url = await start({ options: { rateLimit: { requests: STARTS } } });
      return { url, starts: STARTS, resumes: STARTS * 10 };
    }
    case 'closing': {
      const url = await start({ options: { drainSeconds: DRAIN_SECONDS } });
      return { url, drain_ms: DRAIN_SECONDS * 1000 };
    }
  }
}

interface Setup {
  options?: ServerOptions;
  /** Of the one model; two without a bound unless given. */
  concurrency?: number;
}

async function start({ options, concurrency }: Setup = {}): Promise<string> {
  const candidate = (name: string) => ({
    provider: scripts(name, plain, perform),
    deadlines: PATIENT,
    ...(concurrency !== undefined && { concurrency }),
  });
  const first = candidate('first');
  const server = await createServer({
    ...ownKeys(process.env['TEST_REDIS_URL']),
    env: {},
    port: 0,
    logger: createLogger('silent'),
    providers: concurrency === undefined ? [first, candidate('second')] : [first],
    tools: SCRIPT_TOOLS,
    ...NO_LIMIT,
    ...options,
  });
  const url = await server.listen();
  served.set(url, server);
  return url;
}

const main = await start();
process.once('SIGTERM', () => process.exit(0));
console.log(`conformance server: ${main}`);
