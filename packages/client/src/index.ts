export { StreamError } from '@rivulet/protocol';
export type {
  ErrorCode,
  FinishReason,
  Intent,
  Timing,
  ContextMessage,
  Usage,
} from '@rivulet/protocol';
export { createClient } from './client.js';
export { type ClientToolDefinition, defineTool } from './define-tool.js';
export { snapshots, type StreamSnapshot, text } from './operators/operators.js';
export { perFrame } from './operators/per-frame.js';
export { retryTransient, type RetryTransientOptions } from './operators/retry-transient.js';
export { smooth } from './operators/smooth.js';
export type * from './types.js';
