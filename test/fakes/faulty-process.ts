import { runProcess } from '../../packages/server/src/run-process.js';

/** A process of ours with a fault in it that nobody catches, whose words are `FAULT`. */
await runProcess(async () => {
  setImmediate(() => void Promise.reject(new TypeError(process.env['FAULT'])));
  return { line: 'started', drain: async () => {}, close: async () => {} };
});
