import type { AssistantMessage, Ending } from '@rivulet/client/chat';

/** The actions that make sense after an answer has ended. */
export interface NextSteps {
  readonly canContinue: boolean;
  readonly canRetry: boolean;
  /** Asking the same again would end the same way. */
  readonly canRephrase: boolean;
}

/** Codes with which the same question fails again. */
const HOPELESS: ReadonlySet<string> = new Set([
  'bad_request',
  'content_filter',
  'too_large',
  'tool_limit',
]);

/** Describes in words how an answer ended; empty while it runs. */
export function endingText({ ending, text, answer }: AssistantMessage): string {
  return ending === undefined ? '' : textOfEnding(ending, text !== '', answer.usage?.output_tokens);
}

function textOfEnding(ending: Ending, hasText: boolean, tokens: number | undefined): string {
  switch (ending) {
    case 'complete':
      return 'Complete';
    case 'stopped':
      return hasText ? 'Stopped before its end' : 'Stopped before the first word';
    case 'length': {
      const limit = tokens === undefined ? '' : ` of ${tokens.toLocaleString('en')} tokens`;
      return `Incomplete: it reached the length limit${limit}`;
    }
    case 'filtered':
      return 'Ended by the provider because of its content';
    case 'interrupted':
      return hasText ? 'Interrupted: the server stopped' : 'Lost: the server stopped';
    case 'failed':
      return hasText ? 'Ended with an error' : 'Failed before the first word';
    case 'empty':
      return 'The model sent no text';
    case 'other':
      return 'Ended early; the provider does not say why';
    default:
      return 'Ended';
  }
}

export function nextSteps({ ending, text, canContinue, answer }: AssistantMessage): NextSteps {
  const isHopeless = HOPELESS.has(answer.error?.code ?? '');
  const isUnfinished = ending !== undefined && ending !== 'complete';
  return {
    canContinue,
    canRetry:
      isUnfinished &&
      !isHopeless &&
      (text === '' || ending === 'failed' || ending === 'interrupted' || !canContinue),
    canRephrase: isUnfinished && (isHopeless || ending === 'filtered'),
  };
}
