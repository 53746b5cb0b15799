import { buildPages } from './pages.js';

const [folder, ...flags] = process.argv.slice(2);
if (folder === undefined)
  throw new Error('unable to build the pages: no folder is given; pass it as the first argument');
await buildPages(folder, { hasLab: flags.includes('--lab') });
