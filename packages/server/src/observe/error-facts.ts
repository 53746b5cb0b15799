import { ERRORS } from '@rivulet/protocol';

/**
 * The facts of an error that a log may hold: its class, its codes, where in the code it was thrown and what a
 * provider wrote for the log. Never its message: it may quote the prompt, the answer or the key. Never
 * its other properties: they may hold the request.
 */
export interface ErrorFacts {
  /** The class, such as `TypeError`; of what is no `Error`, what `typeof` says. */
  type: string;
  /** One of Rivulet's error codes, or Node's, such as `ECONNREFUSED`. */
  code?: string;
  /** Which `ProviderFailure` it was. */
  failure?: string;
  /** The text for the operator in a `ProviderError`, without keys, prompts and answers. */
  detail?: string;
  /** HTTP. */
  status?: number;
  /** Where a fault was thrown. Failures that are expected have none. */
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
const EXPECTED: ReadonlySet<string> = new Set(['StreamError', 'ProviderError']);

/** Never throws, whatever was thrown: a getter, a proxy, a circle of causes. */
export function errorFacts(error: unknown): ErrorFacts {
  return factsAt(error, 0);
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
    ...(type === 'ProviderError' &&
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
 * The message stands at the top of a stack, and may itself have lines that look like frames: someone
 * asked about a stack trace. So what stands up to its end is cut, and where it is not found, all.
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
