import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes of the heap and outside it, after collections. */
export async function heldBytes(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    collect();
    // Finalizers and `WeakRef`s are dealt with between turns.
    await nextTurn();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
