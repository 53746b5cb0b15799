import {
  createLogger,
  createServer,
  docs,
  type Provider,
  readConfig,
  type RivuletServer,
} from '@rivulet/server';
import { PATIENT } from '../../harness/route.js';
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
  void served.get(step.close)?.close();
  return 'it closes';
};

async function serve(kind: Kind): Promise<Served> {
  switch (kind) {
    case 'one_place':
      return { url: await start({}, 1) };
    default:
      return { url: await start({}) };
  }
}

async function start(env: Record<string, string>, parallelism?: number): Promise<string> {
  const candidate = (provider: Provider) => ({
    provider,
    deadlines: PATIENT,
    ...(parallelism !== undefined && { parallelism }),
  });
  const first = candidate(scripts('first', plain, perform));
  const second = candidate(scripts('second', plain, perform));
  const server = await createServer({
    config: readConfig({ HOST: '127.0.0.1', PORT: '0', ...env }),
    logger: createLogger('silent'),
    route: parallelism === undefined ? [first, second] : [first],
    tools: SCRIPT_TOOLS,
  });
  const url = await server.listen();
  served.set(url, server);
  return url;
}

const main = await start({});
process.once('SIGTERM', () => process.exit(0));
console.log(`conformance server: ${main}`);
