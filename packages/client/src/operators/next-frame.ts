import { animationFrames, asyncScheduler, Subscription } from 'rxjs';

// A hidden tab has no frames, and neither has a server.
const FRAMELESS_MS = 100;

/** Runs `draw` at the next animation frame, or in 100 ms where there is none, unless unsubscribed. */
export function nextFrame(draw: () => void): Subscription {
  const waiting = new Subscription();
  const drawOnce = (): void => {
    waiting.unsubscribe();
    draw();
  };
  waiting.add(asyncScheduler.schedule(drawOnce, FRAMELESS_MS));
  // Where the function is missing this is an error, and the timer does it.
  waiting.add(animationFrames().subscribe({ next: drawOnce, error() {} }));
  return waiting;
}
