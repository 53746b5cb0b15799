import { StreamError } from '@rivulet/protocol';
import { asyncScheduler, concatMap, from, map, ReplaySubject, Subscription, timer } from 'rxjs';
import { createAnswer } from '../answer/answer.js';
import type { ColdSource } from '../answer/cold-stream.js';
import { NOTHING } from '../answer/receive.js';
import { receiveEvent } from '../answer/receive-event.js';
import { isFinal, isSame, type Phase, snapshotOf } from '../answer/snapshot.js';
import type { AnswerSnapshot, AnswerTiming, AnswerRequest, ResponseEvent } from '../types.js';
import type { Script, Step } from './script.js';

// As a server's.
const DETACH_GRACE_MS = 2_000;

/** A response to which happens what the script says, from now on. */
export function playScript(id: string, ask: AnswerRequest, script: Script): ColdSource {
  const askedAt = asyncScheduler.now();
  const state$ = new ReplaySubject<AnswerSnapshot>(1);
  let received = NOTHING;
  let kept = false;
  let firstChunkMs: number | undefined;
  let phase: Phase = { status: 'open' };
  let isRead = true;
  let grace = new Subscription();
  let wasGivenUp = false;
  let current = snapshotOf({ id, query: ask.query, kept }, received, phase);
  state$.next(current);

  const answer = createAnswer(state$.asObservable(), () => current, { cancel, release, resume });
  const playing = from(script)
    .pipe(concatMap((step) => timer(step.afterMs ?? 0).pipe(map(() => step))))
    .subscribe(play);
  const { signal } = ask.options ?? {};
  signal?.addEventListener('abort', cancel);
  if (signal?.aborted) cancel();

  return {
    answer,
    release,
    resume,
    get wasGivenUp() {
      return wasGivenUp;
    },
  };

  function play(step: Step): void {
    if (step.type === 'error') return end(failed(step));
    if (step.type === 'reconnecting') phase = { status: 'reconnecting' };
    else hear(step);
    show();
  }

  function hear(step: Exclude<Step, { type: 'error' | 'reconnecting' }>): void {
    if (step.type !== 'start' && step.type !== 'queued' && received.attempt === undefined) {
      hear({ type: 'start' });
    }
    const event = eventOf(step);
    if (event.type === 'start') kept = event.source === 'browser-cache';
    received = receiveEvent(received, event);
    if (received.text !== '') firstChunkMs ??= elapsedMs();
    phase = event.type === 'end' ? { status: 'done', timing: event.timing } : { status: 'open' };
  }

  function eventOf(step: Exclude<Step, { type: 'error' | 'reconnecting' }>): ResponseEvent {
    if (step.type === 'start') {
      const attempt = (received.attempt?.attempt ?? 0) + 1;
      return { attempt, source: 'model', provider: 'test', model: 'script', ...step };
    }
    if (step.type === 'end') return { finishReason: 'stop', usage: {}, timing: timing(), ...step };
    return step;
  }

  function failed(step: Extract<Step, { type: 'error' }>): Phase {
    if (step.code === 'cancelled') return { status: 'cancelled', timing: timing() };
    const { code, message = `unable to finish the answer: ${code}`, ...rest } = step;
    const error = new StreamError(code, message, { ...rest, partialText: received.text });
    return { status: 'failed', timing: timing(), error };
  }

  function end(final: Phase): void {
    playing.unsubscribe();
    phase = final;
    show();
  }

  function show(): void {
    const next = snapshotOf({ id, query: ask.query, kept }, received, phase);
    if (!isRead || isFinal(current) || isSame(next, current)) return;
    current = next;
    state$.next(current);
    if (!isFinal(current)) return;
    playing.unsubscribe();
    signal?.removeEventListener('abort', cancel);
    state$.complete();
  }

  function cancel(): void {
    if (isFinal(current)) return;
    resume();
    end({ status: 'cancelled', timing: timing() });
  }

  function release(): void {
    if (isFinal(current) || !isRead) return;
    isRead = false;
    grace = timer(DETACH_GRACE_MS).subscribe(() => {
      if (phase.status === 'done' || phase.status === 'failed') return;
      wasGivenUp = true;
      end({ status: 'cancelled', timing: timing() });
    });
  }

  function resume(): void {
    if (isRead) return;
    grace.unsubscribe();
    isRead = true;
    show();
  }

  function timing(): AnswerTiming {
    return { totalMs: elapsedMs(), ...(firstChunkMs !== undefined && { firstChunkMs }) };
  }

  function elapsedMs(): number {
    return asyncScheduler.now() - askedAt;
  }
}
