/** A connection by long polling, each request of which has the headers that the test gives. */
export class Polling {
  readonly #url: string;
  readonly headers: Record<string, string>;
  sid: string | undefined;

  constructor(url: string, headers: Record<string, string> = {}) {
    this.#url = `${url}/socket.io/?EIO=4&transport=polling`;
    this.headers = headers;
  }

  /** Sends a request; `query` is added to that of the connection. */
  async request(init: RequestInit = {}, query = ''): Promise<Response> {
    const sid = this.sid === undefined ? '' : `&sid=${this.sid}`;
    return fetch(`${this.#url}${sid}${query}`, {
      ...init,
      headers: { ...this.headers, ...(init.headers as Record<string, string> | undefined) },
    });
  }

  async open(): Promise<this> {
    const response = await this.request();
    const text = await response.text();
    if (!response.ok)
      throw new Error(`the handshake was answered with ${response.status}: ${text}`);
    this.sid = (JSON.parse(text.slice(1)) as { sid: string }).sid;
    return this;
  }

  /** Sends packets in one request. */
  send(packets: readonly string[], headers: Record<string, string> = {}): Promise<Response> {
    return this.request({ method: 'POST', body: packets.join('\u001e'), headers });
  }

  /** The packets of the next response. */
  async receive(): Promise<string[]> {
    return (await (await this.request()).text()).split('\u001e');
  }
}
