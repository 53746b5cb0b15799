import { readFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { extname, join } from 'node:path';

const TYPES: Record<string, string> = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.svg': 'image/svg+xml',
};

/** Serves the files of a folder that a test has built. */
export function serveFolder(folder: string): RequestListener {
  return (request, response) => {
    const path = new URL(request.url ?? '/', 'http://_').pathname;
    const file = join(folder, path === '/' ? 'index.html' : path);
    readFile(file).then(
      (body) => response.setHeader('content-type', TYPES[extname(file)] ?? '').end(body),
      () => response.writeHead(404).end(),
    );
  };
}
