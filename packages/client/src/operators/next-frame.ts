import { animationFrames, asyncScheduler, Subscription } from 'rxjs';

// Hidden tabs and servers have no animation frames.
const FRAMELESS_MS = 100;

/** Calls `draw` at the next animation frame, or after 100 ms if there is none before. Unsubscribing cancels it. */
export function nextFrame(callback: () => void): Subscription {
  const waiting = new Subscription();
  const runOnce = (): void => {
    waiting.unsubscribe();
    callback();
  };
  waiting.add(asyncScheduler.schedule(runOnce, FRAMELESS_MS));
  // Without `requestAnimationFrame` this errors, and the timer calls `draw`.
  waiting.add(animationFrames().subscribe({ next: runOnce, error() {} }));
  return waiting;
}
