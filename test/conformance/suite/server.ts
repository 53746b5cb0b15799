import { inject } from 'vitest';
import type { Kind } from './script.js';

/** The server under test, as the set-up found it. */
export interface ServerUnderTest {
  url: string;
  /** The abilities of the second level that the server has, or the reason for having none. */
  scripts: { serves: readonly Kind[] } | { missing: string };
}

declare module 'vitest' {
  interface ProvidedContext {
    conformance: ServerUnderTest;
  }
}

export const serverUnderTest = (): ServerUnderTest => inject('conformance');
