import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { documentPath } from '../packages/server/src/providers/docs/sections.js';

const PREFIX = '/docs/';

/**
 * Serves the documents to which the answers of the docs provider link, as `/docs/README.md`.
 *
 * @returns false if the request is for something else.
 */
export function serveDocument(request: IncomingMessage, response: ServerResponse): boolean {
  const [path = ''] = (request.url ?? '').split('?', 1);
  if (!path.startsWith(PREFIX)) return false;
  const file = documentPath(path.slice(PREFIX.length));
  if (file === undefined) send(response, 404, 'not found\n');
  else {
    readFile(file, 'utf8').then(
      (markdown) => send(response, 200, markdown),
      () => send(response, 500, 'unable to read the document\n'),
    );
  }
  return true;
}

function send(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-cache' })
    .end(text);
}
