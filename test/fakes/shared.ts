import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises';

/** One answer as one wire has it. */
export interface Conversation {
  question: string;
  /** The model's own text that the answer continues; empty for none. */
  continued: string;
  contentType: string;
  /** The frame of a piece of text. */
  text(piece: string): string;
  /** The last frame; without a reason, that of a clean end. */
  finish(reason?: string): string;
  /** Absent if a stream was asked for: the JSON of an answer that has these frames. */
  toWhole?: (frames: string) => unknown;
}

export type Fault<Talk extends Conversation> = (exchange: Exchange<Talk>) => Promise<void> | void;

export interface Reply {
  status: number;
  body: unknown;
}

export type FakeName = 'gemini' | 'ollama' | 'openai';

/** The parts of a fake that differ between providers. */
export interface Fake<Talk extends Conversation> {
  name: FakeName;
  /** Reads a question; undefined where the request is none. */
  converse(request: IncomingMessage, body: unknown): Talk | undefined;
  /** JSON that a GET of the path answers. */
  pages: Readonly<Record<string, () => unknown>>;
  /** JSON that a POST to the path answers, other than an answer of the model. */
  posts?: Readonly<Record<string, (body: unknown) => Reply>>;
  /** The model's refusal of the question, if any. Called before a fault is chosen. */
  refuse?: (talk: Talk) => Reply | undefined;
  /** Resolves when the model is ready to answer. */
  load?: (talk: Talk) => Promise<void>;
  faults: Readonly<Record<string, Fault<Talk>>>;
}

/** The response of `GET /_fake/stats`: requests for an answer, and their sockets. */
export interface FakeStats {
  requests: number;
  active: number;
  /** Requests whose client went away before the fake was done. */
  aborted: number;
  sockets: number;
  socketsTotal: number;
}

const FIRST_TOKEN_MS = 150;
const TOKEN_MS = 15;
const PACKET_MS = 5;
const PIECE_WORDS = [1, 3, 2, 4, 1, 2];
const HUGE_PIECE = 'All work and no play makes a stream a dull stream. '.repeat(1310);
const HUGE_PIECES = 315;

/** The answer of a fake to a question that names no fault. */
export function answerTo(question: string): string {
  const topic = question.replace(/\s+/g, ' ').trim().slice(0, 80);
  return [
    `## About “${topic}”`,
    `You asked: *${topic}*. The short answer is that **it depends**, and here is on what.`,
    `1. What you have measured, and not what you remember.\n2. Who waits for it, and for how long.\n3. Whether it may fail \`once\`, or never.`,
    `So begin with the smallest thing that could work, look at it under load, and keep what holds. Anything that does not — however clever — can go. 🌊`,
  ].join('\n\n');
}

/** A text in pieces of one to four words; joined, they are the text. */
export function toPieces(text: string): string[] {
  const words = text.match(/\s*\S+\s*|\s+/g) ?? [];
  const pieces: string[] = [];
  for (let at = 0; at < words.length;) {
    const size = PIECE_WORDS[pieces.length % PIECE_WORDS.length] ?? 1;
    pieces.push(words.slice(at, at + size).join(''));
    at += size;
  }
  return pieces;
}

/** The scale of pauses: 1 for those of a model, 0 for none. */
const pace = Number(process.env['FAKE_PACE'] ?? 1);

/** The fault of the fake: `lost-text` loses a piece of each streamed answer. */
const misbehaviour = process.env['FAKE_MISBEHAVIOUR'];

/** One request and what is written for it. Every wait rejects once the client has gone. */
export class Exchange<Talk extends Conversation> {
  readonly talk: Talk;
  readonly gone: AbortSignal;
  /** The connection was closed by the fake itself. */
  wasCut = false;
  readonly #response: ServerResponse;
  readonly #frames: Buffer[] = [];

  constructor(talk: Talk, response: ServerResponse, gone: AbortSignal) {
    this.talk = talk;
    this.gone = gone;
    this.#response = response;
  }

  /** Sends the headers of a stream. */
  open(contentType: string = this.talk.contentType): void {
    if (this.talk.toWhole !== undefined) return;
    this.#response.writeHead(200, { 'content-type': contentType });
    this.#response.flushHeaders();
  }

  /** Resolves once the bytes are with the kernel, so none is lost to a `cut` after it. */
  async send(bytes: string | Uint8Array): Promise<void> {
    this.gone.throwIfAborted();
    if (this.talk.toWhole !== undefined) return void this.#frames.push(Buffer.from(bytes));
    await new Promise<void>((resolve, reject) => {
      this.#response.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  async say(pieces: readonly string[]): Promise<void> {
    await this.#pause(FIRST_TOKEN_MS);
    this.open();
    for (const [i, piece] of pieces.entries()) {
      if (i === 2 && misbehaviour === 'lost-text' && this.talk.toWhole === undefined) continue;
      await this.send(this.talk.text(piece));
      await this.#pause(TOKEN_MS);
    }
  }

  /** Opens the stream and says what a fault has before it strikes. */
  async begin(): Promise<void> {
    await this.say(['This is ', 'how it ', 'begins. ']);
  }

  /** Sends the last frame and the end of the body in one write, so that no pause can come between them. */
  async finish(reason?: string): Promise<void> {
    const frame = this.talk.finish(reason);
    if (this.talk.toWhole === undefined) {
      this.gone.throwIfAborted();
      this.#response.end(frame);
    } else {
      await this.send(frame);
      this.end();
    }
  }

  refuse(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
    for (const [name, value] of Object.entries(headers)) this.#response.setHeader(name, value);
    this.#respond(status, 'application/json; charset=UTF-8', JSON.stringify(body, null, 2));
  }

  json(body: unknown): void {
    this.#respond(200, 'application/json; charset=utf-8', JSON.stringify(body));
  }

  page(status: number): void {
    const body = `<!doctype html><html><body><h1>${status} from a proxy</h1></body></html>\n`;
    this.#respond(status, 'text/html', body);
  }

  plain(status: number, body: string): void {
    this.#respond(status, 'text/plain', body);
  }

  end(): void {
    const { toWhole } = this.talk;
    if (toWhole !== undefined) return this.json(toWhole(Buffer.concat(this.#frames).toString()));
    this.#response.end();
  }

  cut(): void {
    this.wasCut = true;
    this.#response.destroy();
  }

  async stall(): Promise<void> {
    if (!this.gone.aborted) await once(this.gone, 'abort');
  }

  #respond(status: number, contentType: string, body: string): void {
    this.#response.writeHead(status, { 'content-type': contentType });
    this.#response.end(body);
  }

  async #pause(ms: number): Promise<void> {
    const options = { signal: this.gone };
    await (pace === 0 ? nextTurn(undefined, options) : wait(ms * pace, undefined, options));
  }
}

/** The faults that are the same story on every wire. */
const sharedFaults: Readonly<Record<string, Fault<Conversation>>> = {
  html: (exchange) => exchange.page(502),
  'html-200': (exchange) => exchange.page(200),
  'stall-first': (exchange) => exchange.stall(),
  'stall-open': async (exchange) => {
    exchange.open();
    await exchange.stall();
  },
  stall: async (exchange) => {
    await exchange.begin();
    await exchange.stall();
  },
  'silent-end': async (exchange) => {
    await exchange.begin();
    exchange.end();
  },
  'silent-end-first': (exchange) => {
    exchange.open();
    exchange.end();
  },
  cut: async (exchange) => {
    await exchange.begin();
    exchange.cut();
  },
  'cut-first': (exchange) => exchange.cut(),
  'cut-open': async (exchange) => {
    exchange.open();
    await exchange.send('');
    exchange.cut();
  },
  'split-utf8': sendSplit,
  burst: async (exchange) => {
    const tokens = Array.from({ length: 16 }, (_, index) => exchange.talk.text(`${index} `));
    exchange.open();
    await exchange.send(tokens.join(''));
    await exchange.finish();
  },
  'burst-stall': async (exchange) => {
    const tokens = Array.from({ length: 16 }, (_, index) => exchange.talk.text(`${index} `));
    exchange.open();
    await exchange.send(tokens.join(''));
    await exchange.stall();
  },
  tokens: async (exchange) => {
    await exchange.say(Array.from({ length: 10_000 }, (_, i) => `word${i} `));
    await exchange.finish();
  },
  huge: async (exchange) => {
    exchange.open();
    for (let count = 0; count < HUGE_PIECES; count++) {
      await exchange.send(exchange.talk.text(HUGE_PIECE));
    }
    await exchange.finish();
  },
};

/** Cuts packets inside of each character that has more than one byte. */
async function sendSplit(exchange: Exchange<Conversation>): Promise<void> {
  exchange.open();
  const frame = Buffer.from(exchange.talk.text('für 🌊 und 👩‍💻 日本'));
  let start = 0;
  for (const [at, byte] of frame.entries()) {
    const continues = (byte & 0b1100_0000) === 0b1000_0000;
    if (!continues) continue;
    await exchange.send(frame.subarray(start, at));
    await wait(PACKET_MS, undefined, { signal: exchange.gone });
    start = at;
  }
  await exchange.send(frame.subarray(start));
  await exchange.finish();
}

function pickFault<Talk extends Conversation>(fake: Fake<Talk>, question: string): Fault<Talk> {
  const word = question.trim().split(/\s/, 1)[0] ?? '';
  if (word.startsWith('finish-')) return finishWith(word.slice('finish-'.length));
  const faults: Record<string, Fault<Talk>> = { ...sharedFaults, ...fake.faults };
  return Object.hasOwn(faults, word) ? (faults[word] ?? answer) : answer;
}

function finishWith(reason: string): Fault<Conversation> {
  return async (exchange) => {
    await exchange.begin();
    await exchange.finish(reason);
  };
}

/** Continues what it would have said; a text that it would not have said is followed by all of it. */
async function answer(exchange: Exchange<Conversation>): Promise<void> {
  const { question, continued } = exchange.talk;
  const whole = answerTo(question);
  const isOwn = whole.startsWith(continued);
  await exchange.say(toPieces(isOwn ? whole.slice(continued.length) : whole));
  await exchange.finish();
}

/** Starts a fake as this process, on 127.0.0.1 at `PORT`, until SIGTERM or SIGINT. */
export function run<Talk extends Conversation>(fake: Fake<Talk>): void {
  const stats: FakeStats = { requests: 0, active: 0, aborted: 0, sockets: 0, socketsTotal: 0 };
  const counted = new WeakSet<Socket>();
  const server = createServer((request, response) => {
    if (request.url === '/_fake/stats') return sendJson(response, stats);
    void receive(fake, request, response, stats, counted);
  });
  server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo;
    process.stdout.write(`fake ${fake.name}: http://127.0.0.1:${port}\n`);
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
}

/** At its first request for an answer and not when it opens, so that sockets of other requests are left out. */
function countSocket(socket: Socket, counted: WeakSet<Socket>, stats: FakeStats): void {
  if (counted.has(socket)) return;
  counted.add(socket);
  stats.sockets++;
  stats.socketsTotal++;
  socket.once('close', () => stats.sockets--);
}

async function receive<Talk extends Conversation>(
  fake: Fake<Talk>,
  request: IncomingMessage,
  response: ServerResponse,
  stats: FakeStats,
  counted: WeakSet<Socket>,
): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  const page = request.method === 'GET' ? fake.pages[path] : undefined;
  if (page !== undefined) return sendJson(response, page());

  const gone = new AbortController();
  try {
    const body = await readJson(request);
    const reply = request.method === 'POST' ? fake.posts?.[path]?.(body) : undefined;
    if (reply !== undefined) return sendJson(response, reply.body, reply.status);
    const talk = fake.converse(request, body);
    if (!talk) {
      response.writeHead(404, { 'content-type': 'text/plain' });
      return void response.end('404 page not found');
    }
    countSocket(request.socket, counted, stats);
    const exchange = new Exchange(talk, response, gone.signal);
    stats.requests++;
    stats.active++;
    response.once('close', () => {
      stats.active--;
      if (!response.writableFinished && !exchange.wasCut) stats.aborted++;
      gone.abort();
    });
    const refusal = fake.refuse?.(talk);
    if (refusal !== undefined) return exchange.refuse(refusal.status, refusal.body);
    await fake.load?.(talk);
    await pickFault(fake, talk.question)(exchange);
  } catch (error) {
    if (!gone.signal.aborted && !request.socket.destroyed) throw error;
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  return body === '' ? undefined : JSON.parse(body);
}

function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
  response.end(JSON.stringify(body));
}
