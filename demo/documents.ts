import type { IncomingMessage, ServerResponse } from 'node:http';
import { readDocument } from '../packages/server/src/providers/docs/sections.js';

const PREFIX = '/docs/';

/**
 * Serves the documents to which the answers of the docs provider link, as `/docs/client.md`.
 *
 * @returns false if the request is for something else.
 */
export function serveDocument(request: IncomingMessage, response: ServerResponse): boolean {
  const [path = ''] = (request.url ?? '').split('?', 1);
  if (!path.startsWith(PREFIX)) return false;
  const markdown = readDocument(path.slice(PREFIX.length));
  if (markdown === undefined) send(response, 404, 'not found\n');
  else send(response, 200, markdown);
  return true;
}

function send(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-cache' })
    .end(text);
}
