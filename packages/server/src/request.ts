import type { ClientTool, ContextMessage, GenerateOptions, Intent } from '@rivulet/protocol';

/** A question, as the streaming core takes it. */
export interface GenerateRequest {
  query: string;
  intent?: Intent | undefined;
  /** Earlier messages of the conversation, oldest first. */
  context?: readonly ContextMessage[] | undefined;
  /** The answer continues this text of the model, and is only what comes after it. Empty is absent. */
  continueText?: string | undefined;
  options?: GenerateOptions | undefined;
  /** Tools that the client runs. The answer is neither cached nor shared. */
  clientTools?: readonly ClientTool[] | undefined;
  /** Earlier messages that the caller left out of `context`. They are only told, logged and counted. */
  omittedMessages?: number | undefined;
  /** Who asks. Absent is a principal of its own. */
  principal?: string | undefined;
}

const USER = 'user:';

/** @returns the id of a user whom `authenticate` named. No browser and no connection has the same. */
export function userId(name: string): string {
  return USER + name;
}

/** @returns the name that `authenticate` gave a user. Any other id is returned unchanged. */
export function principalName(id: string): string {
  return id.startsWith(USER) ? id.slice(USER.length) : id;
}
