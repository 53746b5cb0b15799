import { createClient } from 'redis';
import { textOfCall } from './attempt.js';

interface LoggedEntry {
  type: string;
  text?: string;
  attempt?: number;
}

interface Audit {
  logs: number;
  attempts: number;
  /** The problems that were found. */
  faults: string[];
}

/** The reply of PTTL for a key that does not expire. */
const KEPT = -1;
const EXPIRING_MS = 10_000;

type StreamReply = [id: string, fields: string[]][];

/**
 * Looks at what is left in Redis once no reader is there and nothing is generated: of what is running nothing,
 * and nothing without an end. Each log is without a gap, and each of its attempts is of one call: no second
 * process has written at the same time.
 */
export async function auditRedis(url: string): Promise<Audit> {
  const redis = createClient({ url });
  redis.on('error', () => {});
  await redis.connect();
  try {
    return await audit((...args) => redis.sendCommand(args));
  } finally {
    redis.destroy();
  }
}

/** @returns what Redis has of a log: its state, its end, its owner, those that follow and read it. */
export async function describeLog(url: string, gid: string): Promise<string[]> {
  const redis = createClient({ url });
  redis.on('error', () => {});
  await redis.connect();
  try {
    const command = (...args: string[]): Promise<unknown> => redis.sendCommand(args);
    const [state] = (await command('KEYS', `*{rv}:g:${gid}`)) as string[];
    if (state === undefined) return [`Redis has no log ${gid}`];
    const base = state.slice(0, -`:g:${gid}`.length);
    const time = (await command('TIME')) as [string, string];
    const streams = (await command('SMEMBERS', `${base}:m:${gid}`)) as string[];
    const looks: Record<string, string[]> = {
      log: ['HGETALL', state],
      end: ['XREVRANGE', `${base}:l:${gid}`, '+', '-', 'COUNT', '2'],
      'leases of servers': ['ZRANGE', `${base}:n`, '0', '-1', 'WITHSCORES'],
      followers: ['SMEMBERS', `${base}:f:${gid}`],
      request: ['STRLEN', `${base}:q:${gid}`],
      ...Object.fromEntries(
        streams.flatMap((sid) => [
          [`stream ${sid}`, ['HGETALL', `${base}:s:${sid}`]],
          [`readers of ${sid}`, ['HGETALL', `${base}:r:${sid}`]],
        ]),
      ),
    };
    const described = Object.entries(looks).map(
      async ([name, args]) => `${name}: ${JSON.stringify(await command(...args))}`,
    );
    return [`Redis at ${time[0]}`, ...(await Promise.all(described))];
  } finally {
    redis.destroy();
  }
}

async function audit(command: (...args: string[]) => Promise<unknown>): Promise<Audit> {
  const faults: string[] = [];
  const keys = (await command('KEYS', '*')) as string[];
  let attempts = 0;
  const records = new Map<string, string>();
  for (const key of keys) {
    const leftMs = Number(await command('PTTL', key));
    if (leftMs === KEPT) faults.push(`${key} is kept for ever`);
    // It has just expired, or is about to.
    if (leftMs !== KEPT && leftMs < EXPIRING_MS) continue;
    const [, kind] = /\{rv\}:(\w+)/.exec(key) ?? [];
    if (kind === 'o' || kind === 'p' || kind === 'q' || kind === 'due' || kind === 'r')
      faults.push(`${key} is left`);
    if (kind === 's') {
      const [gid, record] = (await command('HMGET', key, 'gid', 'record')) as (string | null)[];
      if (gid == null || record == null) faults.push(`${key} has no stream`);
      else records.set(gid, (JSON.parse(record) as { query: string }).query);
    }
  }
  let logs = 0;
  for (const key of keys.filter((each) => each.includes('{rv}:l:'))) {
    if (Number(await command('PTTL', key)) < EXPIRING_MS) continue;
    logs += 1;
    const query = records.get(key.slice(key.lastIndexOf(':') + 1));
    if (query === undefined) {
      faults.push(`${key} is of no stream`);
      continue;
    }
    const entries = (await command('XRANGE', key, '-', '+')) as StreamReply;
    attempts += auditLog(query, entries, (fault) => faults.push(`${query}: ${fault}`));
  }
  return { logs, attempts, faults };
}

/** @returns the number of attempts. */
function auditLog(query: string, entries: StreamReply, fail: (fault: string) => void): number {
  let head = 0;
  let attempts = 0;
  let newest = 0;
  let text = '';
  const checkAttempt = (): void => {
    const [, call = ''] = /^<([\w.]+)> /.exec(text) ?? [];
    if (text !== '' && !textOfCall(query, call).startsWith(text))
      fail(`attempt ${newest} of the log is of more than one call`);
    text = '';
  };
  for (const [id, [, blob = '[]']] of entries) {
    const at = Number(id.split('-')[0]);
    if (at !== head) fail(`the log has a gap: ${head} is followed by ${at}`);
    head = at;
    for (const entry of JSON.parse(blob) as LoggedEntry[]) {
      head += entry.type === 'text' ? entry.text!.length : 1;
      if (entry.type === 'text') text += entry.text!;
      if (entry.type !== 'start') continue;
      checkAttempt();
      if (entry.attempt! <= newest) fail(`attempt ${entry.attempt} follows ${newest}`);
      newest = entry.attempt!;
      attempts += 1;
    }
  }
  checkAttempt();
  return attempts;
}
