export { StreamError } from '@rivulet/protocol';
export type { ErrorCode, FinishReason, Intent, Timing, Turn, Usage } from '@rivulet/protocol';
export { createClient } from './client.js';
export { text } from './operators.js';
export type * from './types.js';
