import { animationFrames, asyncScheduler, Subscription } from 'rxjs';

// Hidden tabs and servers have no animation frames.
const FRAMELESS_MS = 100;

/** Calls `draw` at the next animation frame, or after 100 ms if there is none before. Unsubscribing cancels it. */
export function nextFrame(draw: () => void): Subscription {
  const waiting = new Subscription();
  const drawOnce = (): void => {
    waiting.unsubscribe();
    draw();
  };
  waiting.add(asyncScheduler.schedule(drawOnce, FRAMELESS_MS));
  // Without `requestAnimationFrame` this errors, and the timer calls `draw`.
  waiting.add(animationFrames().subscribe({ next: drawOnce, error() {} }));
  return waiting;
}
