import type { TestBrowser, TestContext, TestPage } from './browsers.js';
import { startChild } from './child.js';
import { freePort } from './free-port.js';

const DRIVER = process.env['WEBKIT_DRIVER_PATH'] ?? 'WebKitWebDriver';
const MINI_BROWSER = '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser';
const SCRIPT_TIMEOUT_MS = 60_000;

/**
 * WebKitGTK's MiniBrowser, driven by W3C WebDriver: https://www.w3.org/TR/webdriver2/. A driver has one
 * session at a time, so each context has a driver of its own.
 */
export function startWebKit(): TestBrowser {
  const contexts = new Set<TestContext>();
  return {
    async newContext() {
      const context = await startContext();
      contexts.add(context);
      return context;
    },
    async close() {
      await Promise.all([...contexts].map((context) => context.close()));
    },
  };
}

async function startContext(): Promise<TestContext> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  // The shell says when the driver runs, since it prints nothing itself.
  const script = `xvfb-run -a ${DRIVER} --port=${port} & echo started; wait`;
  const driver = await startChild('sh', ['-c', script], { ready: /^started/, group: true });
  await untilListening(url);
  const { sessionId } = await send<{ sessionId: string }>(`${url}/session`, {
    capabilities: {
      alwaysMatch: {
        timeouts: { script: SCRIPT_TIMEOUT_MS },
        'webkitgtk:browserOptions': { binary: MINI_BROWSER, args: ['--automation'] },
      },
    },
  });
  const session = `${url}/session/${sessionId}`;
  /** The window that commands go to. A session has one, and pages of one context take turns. */
  let queue: Promise<unknown> = Promise.resolve();
  let isFirst = true;

  function inWindow<T>(handle: string, command: () => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      await send(`${session}/window`, { handle });
      return command();
    };
    const result = queue.then(run, run);
    queue = result.catch(() => {});
    return result;
  }

  async function newPage(): Promise<TestPage> {
    const opened = isFirst
      ? { handle: await get<string>(`${session}/window`) }
      : await send<{ handle: string }>(`${session}/window/new`, { type: 'tab' });
    isFirst = false;
    const { handle } = opened;
    return {
      goto: (to) => inWindow(handle, () => send(`${session}/url`, { url: to })),
      reload: () => inWindow(handle, () => send(`${session}/refresh`, {})),
      close: () => inWindow(handle, () => send(`${session}/window`, undefined, 'DELETE')),
      evaluate: (async (work: unknown, argument?: unknown) => {
        const id = `evaluated${Math.random()}`;
        // A script that waits would hold up the other pages of the session, so the result is polled for.
        const begin = `const argument = arguments[1];
          globalThis[arguments[0]] = undefined;
          Promise.resolve().then(() => (${String(work)})(argument)).then(
            (value) => JSON.stringify({ value }),
            (error) => JSON.stringify({ error: String(error) }),
          ).then((json) => { globalThis[arguments[0]] = json; });`;
        const execute = <T>(source: string, args: unknown[]): Promise<T> =>
          inWindow(handle, () => send<T>(`${session}/execute/sync`, { script: source, args }));
        await execute(begin, [id, argument ?? null]);
        const deadline = Date.now() + SCRIPT_TIMEOUT_MS;
        while (Date.now() < deadline) {
          const json = await execute<string | null>('return globalThis[arguments[0]] ?? null', [
            id,
          ]);
          if (json === null) {
            await new Promise((resolve) => setTimeout(resolve, 20));
            continue;
          }
          const { value, error } = JSON.parse(json) as { value?: unknown; error?: string };
          if (error !== undefined) throw new Error(error);
          return value;
        }
        throw new Error('unable to evaluate: no result in 60 s');
      }) as TestPage['evaluate'],
    };
  }

  return {
    newPage,
    async close() {
      await send(session, undefined, 'DELETE').catch(() => {});
      await driver.stop('SIGKILL');
    },
  };
}

async function send<T>(url: string, body: unknown, method = 'POST'): Promise<T> {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  return valueOf<T>(await fetch(url, init));
}

async function get<T>(url: string): Promise<T> {
  return valueOf<T>(await fetch(url));
}

async function valueOf<T>(response: Response): Promise<T> {
  const { value } = (await response.json()) as { value: T };
  if (!response.ok) throw new Error(`WebDriver: ${JSON.stringify(value)}`);
  return value;
}

async function untilListening(url: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const isUp = await fetch(`${url}/status`).then(
      () => true,
      () => false,
    );
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`WebKitWebDriver does not listen at ${url}`);
}
