import type { StreamRequest, TokenSource } from '../tokens/upstream.js';

export const STACKS = ['ws', 'sse', 'sio', 'ai', 'rivulet'] as const;
export type StackName = (typeof STACKS)[number];

/** A way to bring streams to clients: a module of this folder with its name. */
export interface Stack {
  /** Listens on a port of 127.0.0.1, and returns it. Runs in the server's process. */
  serve(options: ServeOptions): Promise<number>;
  /** Resolves once connected. Runs in the clients' process. */
  connect(url: string, options: ConnectOptions): Promise<Connection>;
}

/** A model's server. */
export interface Model {
  api: 'ollama' | 'gemini';
  url: string;
}

export interface ServeOptions {
  /** The tokens for a request. */
  tokens: TokenSource;
  /** The source of the tokens, for a stack with its own client of it; a script unless given. */
  model?: Model | undefined;
  /** Repeated requests are answered from the server's cache, where there is one. */
  cache?: boolean;
  /** All connections are those of one user. */
  oneUser?: boolean;
  /** Finished streams are kept for this long, where they are kept. */
  retentionMs?: number;
}

export interface ConnectOptions {
  oneUser?: boolean;
}

/** A connection carries one stream after another. */
export interface Connection {
  /** Calls `onText` with each piece; pieces need not be tokens. Resolves when the stream has ended. */
  stream(request: StreamRequest, onText: (text: string) => void): Promise<void>;
  /** Reads a watched stream that another connection of this process has asked for. */
  watch?(request: StreamRequest, onText: (text: string) => void): Promise<void>;
  close(): void;
}

const MODULES: Record<StackName, () => Promise<Stack>> = {
  ws: () => import('./ws.js'),
  sse: () => import('./sse.js'),
  sio: () => import('./sio.js'),
  ai: () => import('./ai.js'),
  rivulet: () => import('./rivulet.js'),
};

/** Loads a stack alone: no process has the libraries of another. */
export function loadStack(name: StackName): Promise<Stack> {
  return MODULES[name]();
}
