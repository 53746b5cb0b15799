import {
  type GenerateRequest,
  type LlmService,
  questionOf,
  type StreamedEntry,
} from '@rivulet/server';
import type { Call } from './stage.js';

/** A request and what it has heard so far. */
export interface Asked {
  /** All that it heard. */
  readonly ended: Promise<StreamedEntry[]>;
  /** Every place that it was told. */
  readonly places: number[];
  readonly last: StreamedEntry | undefined;
  cancel(): void;
}

export function ask(
  llm: LlmService,
  query = 'q',
  request: Omit<GenerateRequest, 'query'> = {},
): Asked {
  const controller = new AbortController();
  const heard: StreamedEntry[] = [];
  const stream = llm.generateResponseStream({ query, ...request }, { signal: controller.signal });
  const ended = (async () => {
    for await (const entry of stream) heard.push(entry);
    return heard;
  })();
  return {
    ended,
    cancel: () => controller.abort(),
    get places() {
      return heard.flatMap((entry) => (entry.type === 'queued' ? [entry.ahead] : []));
    },
    get last() {
      return heard.at(-1);
    },
  };
}

export const queryOf = ({ prompt }: Call): string => questionOf(prompt);

/** Answers with the question. */
export function answer(call: Call): void {
  call.say(queryOf(call));
  call.finish();
}
