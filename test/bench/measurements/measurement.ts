import type { Session } from '../session.js';
import type { Model, ServeOptions, StackName } from '../stacks/stack.js';

/** Something that is measured of each stack. */
export interface Measurement {
  /** `bench -- --only` takes it, or the part before its `-`. */
  id: string;
  stacks: readonly StackName[];
  /** The command that starts the server. */
  serve?: Omit<ServeOptions, 'tokens' | 'model'>;
  /** The server gets its tokens from a model's server with this API, which is a process of its own. */
  api?: Model['api'];
  run(session: Session): Promise<Figures>;
}

/** Figures by their names. `wrong` is the number of streams whose text was not exact, and should be 0. */
export type Figures = Record<string, number> & { wrong: number };
