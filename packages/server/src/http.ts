import type { RequestListener, ServerResponse } from 'node:http';

export interface HttpRoutes {
  /** Why no new stream is taken; undefined when one is. */
  unready(): string | undefined;
  /** Answers `/metrics`; absent, that is a path like any other. */
  metrics: RequestListener | undefined;
  /** Answers what is not the server's own; absent, that is not found. */
  page: RequestListener | undefined;
}

/** The server's own paths: `/healthz`, `/readyz` and `/metrics`. */
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
    else page(request, response);
  };
}

function notFound(_: unknown, response: ServerResponse): void {
  send(response, 404, 'not found');
}

function sendReadiness(response: ServerResponse, reason: string | undefined): void {
  if (reason === undefined) send(response, 200, 'ready');
  else send(response, 503, `not ready: ${reason}`);
}

function send(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-cache' })
    .end(`${text}\n`);
}
