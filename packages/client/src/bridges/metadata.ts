import type { Usage } from '@rivulet/protocol';
import type { Answer, AnswerSource, AnswerTiming } from '../types.js';

/** The metadata of an assistant's message. */
export interface AnswerMetadata {
  provider: string;
  model: string;
  source: AnswerSource;
  /** 1 for the first; each further one began the text again. */
  attempt: number;
  /** The oldest messages that the model was not given; absent for none. */
  omittedMessages?: number | undefined;
  /** The next three are there once the answer has ended. */
  timing?: AnswerTiming | undefined;
  usage?: Usage | undefined;
  requestId?: string | undefined;
}

/** @returns the metadata of the newest attempt, as far as it is known. */
export function metadataOf(answer: Answer): AnswerMetadata {
  const {
    provider = '',
    model = '',
    source = 'model',
    attempt,
    ...snapshot
  } = answer.getSnapshot();
  const { omittedMessages, timing, usage, requestId } = snapshot;
  return {
    provider,
    model,
    source,
    attempt,
    ...(omittedMessages > 0 && { omittedMessages }),
    ...(timing !== undefined && { timing, usage, requestId }),
  };
}
