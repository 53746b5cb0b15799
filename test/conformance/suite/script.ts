/** One step of what a server's model does. README.md, "Scripts", says what each means. */
export type Step =
  | { text: string }
  | { thought: string }
  | { hold: string; given_up?: string }
  | { open: string }
  | { load: string }
  | { omit: number }
  | { calls: { name: string; arguments: unknown }[] }
  | { fail: 'unavailable' | 'content_filter' }
  | { finish: 'stop' | 'length' | 'other' }
  | { describe: true }
  | { serve: Kind }
  | { close: string };

/** Servers that are set up in a way of their own. */
export const KINDS = ['one_place', 'loads', 'token', 'limited', 'closing'] as const;
export type Kind = (typeof KINDS)[number];

export interface Script {
  /** Nobody else's; it makes each question another one. */
  id: string;
  steps: Step[];
}

/** The prefix of a question that contains a script. */
export const SCRIPT_PREFIX = 'conformance:';

/** The model's output for a `describe` script, as JSON. */
export interface Description {
  conformance: 1;
  serves: Kind[];
}

/** The model's output for a `serve` script, as JSON. */
export interface Served {
  url: string;
  /** `token`: of two users, and one of the first that expires three seconds after it was first used. */
  tokens?: [string, string];
  short_token?: string;
  /** `limited`: how many a principal has before it is refused. */
  starts?: number;
  resumes?: number;
  /** `closing`: what its `server_closing` says. */
  drain_ms?: number;
}

export function scriptQuery(script: Script): string {
  return SCRIPT_PREFIX + JSON.stringify(script);
}
