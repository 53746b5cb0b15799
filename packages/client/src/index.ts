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
export { snapshots, type StreamSnapshot, text } from './operators.js';
export { perFrame } from './per-frame.js';
export { smooth } from './smooth.js';
export type * from './types.js';
