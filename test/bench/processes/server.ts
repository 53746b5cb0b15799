import { loadStack, type ServeOptions, type StackName } from '../stacks/stack.js';
import { scriptedTokens, upstream, yieldedAt } from '../tokens/upstream.js';
import { relay } from '../tokens/relay.js';
import { startProfile, stopProfile } from './profile.js';
import { answerCalls } from './remote.js';
import { usage, usageAfterCollection } from './usage.js';

// The server of one stack.

const stack = await loadStack(process.argv[2] as StackName);
let peakRss = 0;

const commands = {
  serve: (options: Omit<ServeOptions, 'tokens'>) =>
    stack.serve({ ...options, tokens: options.model ? relay(options.model) : scriptedTokens }),
  usage: () => ({ ...usage(), ...upstream }),
  usageAfterCollection: () => ({ ...usageAfterCollection(), ...upstream }),
  /** Timers, handles and requests that keep the process alive. */
  resources: () => process.getActiveResourcesInfo().length,
  /** The times at which the tokens of each timed stream were yielded, since the last call. */
  times() {
    const times = new Map(yieldedAt);
    yieldedAt.clear();
    return times;
  },
  watchPeak() {
    peakRss = 0;
    setInterval(() => (peakRss = Math.max(peakRss, process.memoryUsage.rss())), 50).unref();
  },
  peakRss: () => peakRss,
  startProfile,
  stopProfile,
};
export type ServerCommands = typeof commands;

// A client that goes away makes some stacks throw where nothing can catch it.
process.on('unhandledRejection', () => {});
answerCalls(commands);
