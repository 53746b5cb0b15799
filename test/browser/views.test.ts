import { createClient, perFrame, smooth } from '@rivulet/client';
import { type AnswerState, useAnswer } from '@rivulet/client/react';
import { createElement, Profiler, type ReactElement, StrictMode, useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { interval, lastValueFrom, NEVER, startWith, take, tap, toArray } from 'rxjs';
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { cdp, server } from 'vitest/browser';

/** A tab that is hidden has no frames. */
function hideTab(): void {
  const spy = vi.spyOn(globalThis, 'requestAnimationFrame').mockReturnValue(0);
  onTestFinished(() => spy.mockRestore());
}

/** After this time without a frame, a value does not wait for one. */
const FRAMELESS_MS = 100;

/** Frames from now on. */
function countFrames(): () => number {
  let frames = 0;
  const count = (): void => {
    frames += 1;
    handle = requestAnimationFrame(count);
  };
  let handle = requestAnimationFrame(count);
  onTestFinished(() => cancelAnimationFrame(handle));
  return () => frames;
}

describe('perFrame in a browser', () => {
  it('lets out no more than a value a frame, and the last one at once', async () => {
    const frames = countFrames();
    const startedAt = performance.now();
    let framesAtEnd = 0;
    const source = interval(2).pipe(take(200), tap({ complete: () => (framesAtEnd = frames()) }));
    const values = await lastValueFrom(source.pipe(perFrame(), toArray()));
    expect(frames()).toBe(framesAtEnd);
    const elapsedMs = performance.now() - startedAt;
    expect(values.at(0)).toBe(0);
    expect(values.at(-1)).toBe(199);
    expect(values.length).toBeGreaterThan(3);
    expect(values.length).toBeLessThanOrEqual(frames() + elapsedMs / FRAMELESS_MS + 2);
  });

  it('goes on in a hidden tab', async () => {
    hideTab();
    const startedAt = performance.now();
    const source = interval(10).pipe(take(40));
    const values = await lastValueFrom(source.pipe(perFrame(), toArray()));
    expect(values.at(-1)).toBe(39);
    expect(values.length).toBeGreaterThan(3);
    const elapsedMs = performance.now() - startedAt;
    expect(values.length).toBeLessThanOrEqual(elapsedMs / FRAMELESS_MS + 2);
  });
});

describe('smooth in a browser', () => {
  const whole = 'Where a river ends. '.repeat(10);
  const burst = NEVER.pipe(startWith(whole), startWith(''), smooth());

  it('types a burst over many frames', async () => {
    const lengths: number[] = [];
    await new Promise<void>((resolve) => {
      const subscription = burst.subscribe((text) => {
        lengths.push(text.length);
        if (text === whole) resolve();
      });
      onTestFinished(() => subscription.unsubscribe());
    });
    expect(lengths.length).toBeGreaterThan(2);
    expect(lengths).toEqual([...new Set(lengths)].sort((a, b) => a - b));
  });

  // Only Chromium has the DevTools protocol.
  it.skipIf(server.browser !== 'chromium')(
    'shows all at once to who prefers reduced motion',
    async () => {
      const emulate = (value: string): Promise<unknown> =>
        cdp().send('Emulation.setEmulatedMedia', {
          features: [{ name: 'prefers-reduced-motion', value }],
        });
      await emulate('reduce');
      onTestFinished(async () => void (await emulate('')));
      const seen: string[] = [];
      burst.subscribe((text) => seen.push(text)).unsubscribe();
      expect(seen).toEqual(['', whole]);
    },
  );
});

describe('a component of React under StrictMode that asks when it is mounted', () => {
  /** The sent messages of one kind, over a socket that stays connected. */
  function sent(kind: string): () => number {
    const send = vi.spyOn(WebSocket.prototype, 'send');
    onTestFinished(() => send.mockRestore());
    return () =>
      send.mock.calls.filter(([packet]) => typeof packet === 'string' && packet.includes(kind))
        .length;
  }

  it('asks once, and renders its answer no more often than there are frames', async () => {
    const starts = sent('"stream_start"');
    const detaches = sent('"stream_detach"');
    const frames = countFrames();
    const startedAt = performance.now();
    const client = createClient({ url: inject('url'), cache: false });
    onTestFinished(() => client.close());
    const question = `Strict ${'word '.repeat(300)}`;
    let state: AnswerState | undefined;
    let renders = 0;

    function View(): ReactElement {
      const answer = useAnswer(client);
      state = answer.state;
      useEffect(() => void answer.ask(question), [answer.ask]);
      return createElement('output', null, answer.state.text);
    }

    const target = document.createElement('div');
    document.body.append(target);
    const root = createRoot(target);
    onTestFinished(() => {
      root.unmount();
      target.remove();
    });
    const counted = { id: 'view', onRender: () => void renders++ };
    root.render(
      createElement(StrictMode, null, createElement(Profiler, counted, createElement(View))),
    );

    await vi.waitFor(() => expect(state?.status).toBe('done'), { timeout: 20_000 });
    expect(target.textContent).toBe(`1: ${question}`);
    expect(starts()).toBe(1);
    expect(detaches()).toBe(0);
    expect(renders).toBeGreaterThan(3);
    // Mounting, asking and the end do not wait for a frame.
    const elapsedMs = performance.now() - startedAt;
    expect(renders).toBeLessThanOrEqual(frames() + elapsedMs / FRAMELESS_MS + 4);
  });
});
