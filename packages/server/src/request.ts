import type { GenerateOptions, Intent, ContextMessage } from '@rivulet/protocol';

/** A question, as the streaming core takes it. */
export interface GenerateRequest {
  query: string;
  intent?: Intent;
  /** Earlier messages of the conversation, oldest first. */
  context?: readonly ContextMessage[];
  options?: GenerateOptions;
  /** Earlier messages that the caller left out of `context`. They are only told, logged and counted. */
  omittedMessages?: number;
  /** Who asks. Absent is a principal of its own. */
  principal?: string;
}
