import { openBuiltPages } from '../../demo/built-pages.js';

/** Builds the pages before the first test, because building can take longer than a test may. */
export default async function setUp(): Promise<void> {
  await openBuiltPages({ hasLab: false });
  await openBuiltPages({ hasLab: true });
}
