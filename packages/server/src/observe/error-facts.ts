import { ERRORS } from '@rivulet/protocol';

/**
 * The properties of an error that may be logged: its class, its codes, the place of the throw, and a
 * provider's `detail`. The message is never logged, because it may quote the prompt, the answer or the key.
 * Other properties are never logged, because they may hold the request.
 */
export interface ErrorFacts {
  /** The class, such as `TypeError`. For a value that is not an `Error`, the result of `typeof`. */
  type: string;
  /** One of Rivulet's error codes, or Node's, such as `ECONNREFUSED`. */
  code?: string;
  /** The kind of `ProviderFailure`. */
  failure?: string;
  /** The text for the operator in a `ProviderError` or `DeadlineError`, without keys, prompts and answers. */
  detail?: string;
  /** The HTTP status. */
  status?: number;
  /** The stack of an unexpected error. Expected failures have none. */
  stack?: readonly string[];
  cause?: ErrorFacts;
  errors?: readonly ErrorFacts[];
}

interface Properties {
  code?: unknown;
  failure?: unknown;
  detail?: unknown;
  status?: unknown;
  errors?: unknown;
}

const MAX_DEPTH = 4;
const MAX_ERRORS = 8;
const MAX_FRAMES = 12;
const MAX_DETAIL_CHARACTERS = 500;

const CLASS = /^[A-Z][A-Za-z]{0,40}(?:Error|Exception)$/;
const NODE_CODE =
  /^(?:E[A-Z]{2,15}|EAI_[A-Z]{2,15}|(?:ERR|UND_ERR)_[A-Z0-9_]{2,60}|(?:CERT|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO)_[A-Z_]{2,40})$/;
const FAILURE = /^[a-z_]{1,20}$/;
const FRAME = /^ {4}at (?:[\w.<>$ [\]#]+ \()?(?:file:\/\/\/|node:|\/)[^\s()]+:\d+:\d+\)?$/;
const WITH_DETAIL: ReadonlySet<string> = new Set(['ProviderError', 'DeadlineError']);
const EXPECTED: ReadonlySet<string> = new Set(['StreamError', ...WITH_DETAIL]);

/** The facts that `errorFacts` has returned. */
const returned = new WeakSet<ErrorFacts>();

/**
 * Does not throw, even for a getter that throws, a proxy, or causes that form a cycle. Returns facts unchanged:
 * a line may pass through several loggers that replace the error by its facts.
 */
export function errorFacts(error: unknown): ErrorFacts {
  if (isReturned(error)) return error;
  const facts = factsAt(error, 0);
  returned.add(facts);
  return facts;
}

function isReturned(value: unknown): value is ErrorFacts {
  return typeof value === 'object' && value !== null && (returned as WeakSet<object>).has(value);
}

function factsAt(error: unknown, depth: number): ErrorFacts {
  try {
    return error instanceof Error ? read(error, depth) : { type: typeof error };
  } catch {
    return { type: 'unreadable' };
  }
}

function read(error: Error, depth: number): ErrorFacts {
  const { name, cause } = error;
  const { code, failure, detail, status, errors } = error as Error & Properties;
  const type = CLASS.test(name) ? name : 'Error';
  const stack = EXPECTED.has(type) ? [] : frames(error);
  const deeper = depth < MAX_DEPTH;
  return {
    type,
    ...(isKnownCode(code) && { code }),
    ...(type === 'ProviderError' && isFailure(failure) && { failure }),
    ...(WITH_DETAIL.has(type) &&
      typeof detail === 'string' && { detail: detail.slice(0, MAX_DETAIL_CHARACTERS) }),
    ...(isHttpStatus(status) && { status }),
    ...(stack.length > 0 && { stack }),
    ...(deeper && cause !== undefined && { cause: factsAt(cause, depth + 1) }),
    ...(deeper &&
      Array.isArray(errors) && {
        errors: errors.slice(0, MAX_ERRORS).map((one) => factsAt(one, depth + 1)),
      }),
  };
}

function isKnownCode(code: unknown): code is string {
  return typeof code === 'string' && (Object.hasOwn(ERRORS, code) || NODE_CODE.test(code));
}

function isFailure(failure: unknown): failure is string {
  return typeof failure === 'string' && FAILURE.test(failure);
}

function isHttpStatus(status: unknown): status is number {
  return Number.isInteger(status) && Number(status) >= 100 && Number(status) <= 599;
}

/**
 * Returns the frames of the stack without the message. The message precedes the frames and may contain lines
 * that look like frames, such as a question about a stack trace. If the message is not found in the stack, no
 * frame is returned.
 */
function frames({ message, stack = '' }: Error): string[] {
  const at = stack.indexOf(message);
  if (at === -1) return [];
  const lines = stack.slice(at + message.length).split('\n');
  return lines
    .filter((line) => FRAME.test(line))
    .slice(0, MAX_FRAMES)
    .map((line) => line.trim());
}
