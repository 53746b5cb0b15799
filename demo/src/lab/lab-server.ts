import type { Fault, StoredText } from '../../lab/lab.js';
import type { Generated } from '../../lab/recorder.js';

/** The server that causes faults and knows the generated texts. */
export interface LabServer {
  /** @param ms for `offline` and `slow`. Rejects if the server is not reached. */
  cause(fault: Fault, ms?: number): Promise<void>;
  /** @returns undefined if nothing was generated for the question, or the server is not reached. */
  generated(query: string, units: number): Promise<Generated | undefined>;
  /** @returns the newest answers in the server's cache; none if the server is not reached. */
  cachedAnswers(): Promise<StoredText[]>;
}

/** @param token the secret that each request has; pages of other origins cannot read it. */
export function createLabServer(token: string): LabServer {
  async function post(path: string, body: object): Promise<unknown> {
    const response = await fetch(`/lab/${path}`, {
      method: 'POST',
      headers: { 'x-lab-token': token },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
    if (!response.ok) throw new Error(`unable to ask the lab's server: ${response.status}`);
    return response.json();
  }

  return {
    async cause(fault, ms) {
      await post(fault, { ms });
    },
    async generated(query, units) {
      const reply = (await post('generated', { query, units }).catch(() => ({}))) as {
        generated?: Generated | null;
      };
      return reply.generated ?? undefined;
    },
    async cachedAnswers() {
      const reply = (await post('cache', {}).catch(() => ({}))) as { answers?: StoredText[] };
      return reply.answers ?? [];
    },
  };
}

/** SHA-256 of a text in UTF-8, in hexadecimal. */
export async function digestOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
