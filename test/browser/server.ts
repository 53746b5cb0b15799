import type { TestProject } from 'vitest/node';
import { startChild } from '../harness/child.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of the counting server. */
    url: string;
  }
}

/** Starts the server that the tests in the browser talk to. */
export default async function setup(project: TestProject): Promise<() => Promise<unknown>> {
  const server = await startChild(
    process.execPath,
    ['--conditions=@rivulet/source', '--import', 'tsx', 'test/browser/counting-server.ts'],
    { ready: /^counting: (\S+)/ },
  );
  project.provide('url', server.match[1]!);
  return () => server.stop();
}
