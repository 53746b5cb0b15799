/** A fault that the server of the lab causes. Those with a time end by themselves. */
export type Fault = 'cut' | 'offline' | 'slow' | 'fail-now' | 'fail-later' | 'restart';

/** Facts about the text that a provider has generated for a question. */
export interface Generated {
  /** UTF-16 units. */
  length: number;
  /** SHA-256 of its first `units` in UTF-8, in hexadecimal. */
  digest: string;
  isRunning: boolean;
}

export interface LabServer {
  /** The secret that each request has; pages of other origins cannot read it. */
  token(): Promise<string>;
  cause(fault: Fault, ms?: number): Promise<void>;
  /** @returns undefined if nothing was generated for the question, or the server is not reached. */
  generated(query: string, units: number): Promise<Generated | undefined>;
}

export function createLabServer(): LabServer {
  let session: Promise<string> | undefined;

  async function token(): Promise<string> {
    session ??= fetch('/lab/session').then(async (response) => {
      const { token: given } = (await response.json()) as { token: string };
      return given;
    });
    return session;
  }

  async function post(path: string, body: object): Promise<Response> {
    return fetch(`/lab/${path}`, {
      method: 'POST',
      headers: { 'x-lab-token': await token() },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
  }

  return {
    token,
    async cause(fault, ms) {
      const response = await post(fault, { ms });
      if (!response.ok) throw new Error(`unable to cause the fault: ${response.status}`);
    },
    async generated(query, units) {
      const response = await post('generated', { query, units }).catch(() => undefined);
      if (!response?.ok) return undefined;
      const { generated } = (await response.json()) as { generated: Generated | null };
      return generated ?? undefined;
    },
  };
}

/** SHA-256 of a text in UTF-8, in hexadecimal. */
export async function digestOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
