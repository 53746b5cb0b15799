import { readdirSync, readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** One exchange with a real server, as `test/recordings/<server>/README.md` describes it. */
export interface Recording {
  request: { method: string; path: string; body?: Record<string, unknown> };
  response: {
    status: number;
    headers: Record<string, string>;
    /** The body in the packets in which it came. */
    chunks: { at_ms: number; text: string }[];
    /** The connection was closed before the end of the body. */
    cut?: true;
  };
}

const root = new URL('../recordings/', import.meta.url);

/** The recordings of a server by their names. */
export function readRecordings(server: 'ollama' | 'openai'): Record<string, Recording> {
  const files = readdirSync(new URL(`${server}/`, root)).filter((file) => file.endsWith('.json'));
  return Object.fromEntries(
    files.map((file) => [
      file.replace(/\.json$/, ''),
      JSON.parse(readFileSync(new URL(`${server}/${file}`, root), 'utf8')) as Recording,
    ]),
  );
}

/** Sends a recorded response: the same bytes in the same packets, but without the pauses. */
export async function play(
  { response: { status, headers, chunks, cut } }: Recording,
  response: ServerResponse,
): Promise<void> {
  response.socket?.setNoDelay(true);
  // Private paths in a body were replaced by others, so that its length may differ.
  const { 'content-length': _, ...sent } = headers;
  response.writeHead(status, sent);
  for (const { text } of chunks) {
    await new Promise((resolve) => response.write(text, resolve));
    await nextTurn();
  }
  if (cut === true) response.destroy();
  else response.end();
}

/** The content of a recorded answer's lines, parsed without the adapter. */
export function contentOf({ response: { chunks } }: Recording): {
  text: string;
  thoughts: string;
  last: Record<string, unknown>;
} {
  const body = chunks.map(({ text }) => text).join('');
  const lines = body
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown> & { message?: Message });
  return {
    text: lines.map(({ message }) => message?.content ?? '').join(''),
    thoughts: lines.map(({ message }) => message?.thinking ?? '').join(''),
    last: lines.at(-1)!,
  };
}

interface Message {
  content?: string;
  thinking?: string;
}

/** A frame of an OpenAI-compatible server. */
export interface RecordedFrame {
  model?: string;
  choices?: {
    delta?: { content?: string | null; reasoning?: string; reasoning_content?: string };
    finish_reason?: string | null;
  }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
  error?: unknown;
}

/** The frames of a recorded stream of server-sent events, read without the adapter. */
export function framesOf({ response: { chunks } }: Recording): RecordedFrame[] {
  const body = chunks.map(({ text }) => text).join('');
  return [...body.matchAll(/^data: (\{.*)$/gm)].map(
    ([, json]) => JSON.parse(json!) as RecordedFrame,
  );
}
