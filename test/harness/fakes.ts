import { get } from 'node:http';
import { json } from 'node:stream/consumers';

import type { Delta, Prompt, Provider } from '../../packages/server/src/providers/provider.js';
import type { FakeName, FakeStats } from '../fakes/shared.js';
import { startChild } from './child.js';
import { freePort } from './free-port.js';

/** A fake upstream in its own process. */
export interface RunningFake {
  url: string;
  stats: () => Promise<FakeStats>;
  /** Tells the fake what to do from now on. */
  tell: (path: string, body: unknown) => Promise<void>;
  stop: () => Promise<void>;
}

/** Starts a fake without delays, or with those that `FAKE_PACE` asks for. */
export async function startFake(
  name: FakeName,
  env: Record<string, string> = {},
): Promise<RunningFake> {
  const child = await startChild(process.execPath, ['--import', 'tsx', `test/fakes/${name}.ts`], {
    env: { PORT: '0', FAKE_PACE: process.env['FAKE_PACE'] ?? '0', ...env },
    ready: /^fake \w+: (http:\S+)$/,
  });
  const url = child.match[1] ?? '';
  const stats = (): Promise<FakeStats> => readStats(`${url}/_fake/stats`);
  // The first reply of a new process is slow. The product waits for at most a second when it starts.
  await stats();
  return {
    url,
    stats,
    async tell(path, body) {
      const { ok } = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) });
      if (!ok) throw new Error(`the fake has no ${path}`);
    },
    stop: async () => void (await child.stop()),
  };
}

/** On a socket of its own: one from fetch's pool would keep open what a test wants to see closed. */
function readStats(url: string): Promise<FakeStats> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => {
      resolve(json(response) as Promise<FakeStats>);
    }).once('error', reject);
  });
}

/** A prompt whose last message is `question`, as a fake reads it. */
export function toPrompt(question: string): Prompt {
  return {
    system: '',
    messages: [{ role: 'user', text: question }],
    temperature: undefined,
    topP: undefined,
    topK: undefined,
    maxTokens: undefined,
  };
}

/** All that came until the end, and the error if that was the end. */
export interface Heard {
  deltas: Delta[];
  text: string;
  error: unknown;
}

/** Reads an answer to its end; a failure is a part of the result. */
export async function hear(
  provider: Provider,
  question: string | Prompt,
  signal: AbortSignal = new AbortController().signal,
): Promise<Heard> {
  const prompt = typeof question === 'string' ? toPrompt(question) : question;
  const heard: Heard = { deltas: [], text: '', error: undefined };
  try {
    for await (const delta of provider.stream(prompt, signal)) {
      heard.deltas.push(delta);
      if (delta.type === 'text') heard.text += delta.text;
    }
  } catch (error) {
    heard.error = error;
  }
  return heard;
}

/** The address of a port that was free a moment ago. */
export async function unusedUrl(): Promise<string> {
  return `http://127.0.0.1:${await freePort()}`;
}
