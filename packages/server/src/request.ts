import type { ClientTool, ContextMessage, GenerateOptions, Intent } from '@rivulet/protocol';

/** The input of the streaming core for one answer. */
export interface GenerateRequest {
  query: string;
  intent?: Intent | undefined;
  /** Earlier messages of the conversation, oldest first. */
  context?: readonly ContextMessage[] | undefined;
  /** The model's text that the answer continues. The answer has only the new text. Empty means absent. */
  continueText?: string | undefined;
  options?: GenerateOptions | undefined;
  /** Tools that the client runs. The answer is neither cached nor shared. */
  clientTools?: readonly ClientTool[] | undefined;
  /**
   * The number of earlier messages that the caller left out of `context`. It is only reported, logged and
   * counted.
   */
  omittedMessages?: number | undefined;
  /**
   * The user of the request. Each request without one has a separate principal; its answer is cached only if the
   * operator has not set the cache scope to `principal`.
   */
  principal?: string | undefined;
  /**
   * The owner of places in a queue, such as the address of an anonymous user. The principals of one owner take at
   * most 16 turns. The principal itself unless given.
   */
  fairnessKey?: string | undefined;
}

const USER = 'user:';

/**
 * @returns the principal id for a user id of `authenticate`. It differs from the ids of browsers and
 * connections.
 */
export function userId(name: string): string {
  return USER + name;
}

/** @returns true if the principal was identified by `authenticate`. */
export function isUserId(id: string): boolean {
  return id.startsWith(USER);
}

/** @returns the user id that `authenticate` returned. Any other principal id is returned unchanged. */
export function principalName(id: string): string {
  return isUserId(id) ? id.slice(USER.length) : id;
}
