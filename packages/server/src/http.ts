import { readFile } from 'node:fs/promises';
import type { RequestListener, ServerResponse } from 'node:http';
import { documentPath } from './generate/providers/docs-sections.js';

export interface HttpRoutes {
  /** Why no new stream is taken; undefined when one is. */
  unready(): string | undefined;
  /** Answers `/metrics`; absent, that is a path like any other. */
  metrics: RequestListener | undefined;
  /** Answers what is not the server's own; absent, that is not found. */
  page: RequestListener | undefined;
}

/** The server's own paths: `/healthz`, `/readyz`, `/metrics`, and `/docs/NAME` for the documentation. */
export function createHttpRoutes({
  unready,
  metrics,
  page = notFound,
}: HttpRoutes): RequestListener {
  return (request, response) => {
    const [path = ''] = (request.url ?? '').split('?', 1);
    if (path === '/healthz') send(response, 200, 'up');
    else if (path === '/readyz') sendReadiness(response, unready());
    else if (path === '/metrics' && metrics) metrics(request, response);
    else {
      const document = documentOf(path);
      if (document === undefined) page(request, response);
      else sendDocument(response, document);
    }
  };
}

function notFound(_: unknown, response: ServerResponse): void {
  send(response, 404, 'not found');
}

function sendReadiness(response: ServerResponse, reason: string | undefined): void {
  if (reason === undefined) send(response, 200, 'ready');
  else send(response, 503, `not ready: ${reason}`);
}

/** The file of the document that a path names; answers of the docs provider link to them. */
function documentOf(path: string): string | undefined {
  const name = /^\/docs\/([\w.-]+)$/.exec(path)?.[1];
  return name === undefined ? undefined : documentPath(name);
}

function sendDocument(response: ServerResponse, file: string): void {
  readFile(file, 'utf8').then(
    (markdown) => send(response, 200, markdown),
    () => send(response, 500, 'unable to read the document'),
  );
}

function send(response: ServerResponse, status: number, text: string): void {
  const body = text.endsWith('\n') ? text : `${text}\n`;
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-cache' })
    .end(body);
}
