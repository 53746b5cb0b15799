import { runProcess } from '../../packages/server/src/run-process.js';

/** A process of ours with a fault in it that nobody catches, whose words are `FAULT`. */
await runProcess(process.env, async () => {
  setImmediate(() => void Promise.reject(new TypeError(process.env['FAULT'])));
  const nothing = async (): Promise<void> => {};
  return { line: 'started', url: '', providers: [], drain: nothing, close: nothing };
});
