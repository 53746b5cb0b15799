import type { RequestListener, ServerResponse } from 'node:http';

/** The readiness of the server for new streams. */
export type Readiness =
  | { status: 'ready' }
  /** The server accepts streams, but a provider cannot answer. */
  | { status: 'degraded'; problems: readonly string[] }
  | { status: 'unready'; reason: string; problems?: readonly string[] };

export interface HttpRoutes {
  readiness(): Readiness;
  /** Responds to `/metrics`. Unless given, `page` handles that path. */
  metrics: RequestListener | undefined;
  /** Responds to all other paths. Unless given, their status is 404. */
  page: RequestListener | undefined;
}

/** Handles the server's own paths: `/healthz`, `/readyz` and `/metrics`. */
export function createHttpRoutes({
  readiness,
  metrics,
  page = notFound,
}: HttpRoutes): RequestListener {
  return (request, response) => {
    const [path = ''] = (request.url ?? '').split('?', 1);
    if (path === '/healthz') send(response, 200, 'up');
    else if (path === '/readyz') sendReadiness(response, readiness());
    else if (path === '/metrics' && metrics) metrics(request, response);
    else page(request, response);
  };
}

function notFound(_: unknown, response: ServerResponse): void {
  send(response, 404, 'not found');
}

/** The first line is the status; each further line is a provider's problem. */
function sendReadiness(response: ServerResponse, readiness: Readiness): void {
  switch (readiness.status) {
    case 'ready':
      return send(response, 200, 'ready');
    case 'degraded':
      return send(response, 200, ['degraded', ...readiness.problems].join('\n'));
    case 'unready': {
      const { reason, problems = [] } = readiness;
      return send(response, 503, [`not ready: ${reason}`, ...problems].join('\n'));
    }
  }
}

function send(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-cache' })
    .end(`${text}\n`);
}
