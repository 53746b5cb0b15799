import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import type { ServerOptions } from '@rivulet/server';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createCertificate } from '../harness/certificate.js';
import { launchChromium } from '../harness/chromium.js';
import { codeIn, startHaproxy, startNginx } from '../harness/proxies.js';
import { startServer } from '../harness/rivulet.js';
import { sdkPage, shown } from '../harness/sdk-page.js';
import { type Call, stage } from '../harness/stage.js';

const [NGINX] = codeIn('deployment.md', 'nginx') as [string];
const [HAPROXY] = codeIn('deployment.md', 'text') as [string];
const TEXT = 'Where a river ends.';
const PATH = '/rivulet/socket.io';

type Transport = 'websocket' | 'polling';
const TRANSPORTS: Transport[] = ['websocket', 'polling'];
type Servers = Awaited<ReturnType<typeof startServers>>;

let browser: Browser;
let sdk: NonNullable<ServerOptions['page']>;

beforeAll(async () => {
  [browser, sdk] = await Promise.all([launchChromium(), sdkPage()]);
});
afterAll(() => browser.close());

/** A Rivulet server whose provider the test plays, and the site with the page. */
async function startServers(options: ServerOptions = {}) {
  const { provider, nextCall } = stage();
  const server = await startServer(provider, { trustedProxies: ['loopback'], ...options });
  const pages = createServer(sdk);
  await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    pages.closeAllConnections();
    pages.close();
  });
  const { port } = pages.address() as { port: number };
  return { server, nextCall, rivulet: new URL(server.url).host, pages: `127.0.0.1:${port}` };
}

/** nginx with TLS, as the documentation configures it but for what `edit` changes. */
async function behindNginx({ rivulet, pages }: Servers, edit = (site: string) => site) {
  const { folder, certificate, key } = createCertificate();
  for (const [file, url] of [
    ['index.html', '/'],
    ['sdk.js', '/sdk.js'],
  ] as const) {
    writeFileSync(join(folder, file), await (await fetch(`http://${pages}${url}`)).text());
  }
  return startNginx(edit(NGINX), {
    '127.0.0.1:3000': rivulet,
    '/etc/ssl/chat.example.pem': certificate,
    '/etc/ssl/chat.example.key': key,
    '/srv/chat': folder,
  });
}

/** HAProxy with TLS, as the documentation configures it, but that it checks servers more often. */
async function behindHaproxy({ rivulet, pages }: Servers) {
  return startHaproxy(HAPROXY, {
    '127.0.0.1:3000': rivulet,
    '127.0.0.1:8080': pages,
    '/etc/haproxy/chat.example.pem': createCertificate().both,
    'inter 2s': 'inter 100ms',
  });
}

/** Opens the page and asks. Without WebSockets, the client polls. */
async function open(host: string, path: string, transport: Transport = 'websocket'): Promise<Page> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  onTestFinished(() => context.close());
  if (transport === 'polling') await context.addInitScript('globalThis.WebSocket = undefined;');
  const page = await context.newPage();
  await page.goto(`https://${host}/`);
  await page.evaluate((at) => {
    globalThis.client = rivulet.createClient({ path: at, cache: false });
    globalThis.answer = client.start({ query: 'Where does a river end?' });
  }, path);
  return page;
}

/** The model says the second part once the page shows the first. @returns what the page shows at the end. */
async function stream(page: Page, call: Call): Promise<string> {
  call.say('Where a ');
  await shown(page, { text: 'Where a ' });
  call.say('river ends.');
  call.finish();
  const { text } = await shown(page, { status: 'done' });
  return text;
}

/** The protocols that the browser has used for the page and for its answers. */
function protocols(page: Page) {
  return page.evaluate(() => {
    const [navigation] = performance.getEntriesByType('navigation');
    const requests = performance.getEntriesByType('resource') as PerformanceResourceTiming[];
    return {
      page: (navigation as PerformanceNavigationTiming).nextHopProtocol,
      polls: requests.some(({ name }) => name.includes('transport=polling')),
    };
  });
}

describe('behind nginx as the documentation configures it', () => {
  it('the page has HTTP/2, and an answer streams over a WebSocket below a path', async () => {
    const servers = await startServers();
    const page = await open(await behindNginx(servers), PATH);
    expect(await stream(page, await servers.nextCall())).toBe(TEXT);
    expect(await protocols(page)).toEqual({ page: 'h2', polls: false });
  });

  it('an answer streams by polling', async () => {
    const servers = await startServers();
    const page = await open(await behindNginx(servers), PATH, 'polling');
    expect(await stream(page, await servers.nextCall())).toBe(TEXT);
    expect(await protocols(page)).toEqual({ page: 'h2', polls: true });
  });

  it.each(TRANSPORTS)('an answer streams by %s with buffering and gzip', async (transport) => {
    const servers = await startServers();
    const host = await behindNginx(servers, (site) =>
      site.replace(
        'proxy_buffering off;',
        'proxy_buffering on; gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any;',
      ),
    );
    expect(await stream(await open(host, PATH, transport), await servers.nextCall())).toBe(TEXT);
  });

  it('an answer streams by polling where the proxy passes no upgrades', async () => {
    const servers = await startServers();
    const host = await behindNginx(servers, (site) =>
      site.replace(/^ *proxy_set_header (Upgrade|Connection) .*\n/gm, ''),
    );
    const page = await open(host, PATH);
    expect(await stream(page, await servers.nextCall())).toBe(TEXT);
    expect(await protocols(page)).toMatchObject({ polls: true });
  });

  it('the path stays as it is with SOCKET_PATH', async () => {
    const servers = await startServers({ socketPath: PATH });
    const host = await behindNginx(servers, (site) =>
      site.replace(
        'proxy_pass http://127.0.0.1:3000/socket.io/;',
        'proxy_pass http://127.0.0.1:3000;',
      ),
    );
    expect(await stream(await open(host, PATH), await servers.nextCall())).toBe(TEXT);
  });

  it('health and metrics are not forwarded', async () => {
    const servers = await startServers();
    const page = await open(await behindNginx(servers), PATH);
    expect(await stream(page, await servers.nextCall())).toBe(TEXT);
    const statuses = await page.evaluate(() =>
      Promise.all(
        ['/healthz', '/readyz', '/metrics'].map(async (path) => (await fetch(path)).status),
      ),
    );
    expect(statuses).toEqual([404, 404, 404]);
  });
});

describe('behind HAProxy as the documentation configures it', () => {
  it.each(TRANSPORTS)('an answer streams by %s', async (transport) => {
    const servers = await startServers();
    const page = await open(await behindHaproxy(servers), '/socket.io', transport);
    expect(await stream(page, await servers.nextCall())).toBe(TEXT);
    expect(await protocols(page)).toEqual({ page: 'h2', polls: transport === 'polling' });
  });

  it('a server that drains gets no new connections, and its answers end on those that it has', async () => {
    const servers = await startServers();
    const host = await behindHaproxy(servers);
    const page = await open(host, '/socket.io');
    const call = await servers.nextCall();
    call.say('Where a ');
    await shown(page, { text: 'Where a ' });
    const drained = servers.server.drain();
    const statusOf = () =>
      page.evaluate(async () => (await fetch('/socket.io/?EIO=4&transport=polling')).status);
    await vi.waitFor(async () => expect(await statusOf()).toBe(503));
    call.say('river ends.');
    call.finish();
    expect(await shown(page, { status: 'done' })).toMatchObject({ text: TEXT });
    await drained;
  });
});
