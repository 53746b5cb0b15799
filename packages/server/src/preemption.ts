/** Lets a queue end a request that no reader is left for, in favour of another one that waits. */
export interface Preemption {
  /** True while every reader has said that it left and none has come back. */
  readonly isPreemptible: boolean;
  /** Calls `listener` whenever `isPreemptible` changes. @returns a function that ends this. */
  onChange(listener: () => void): () => void;
  /** Ends the request now. Its signal aborts before this returns. */
  preempt(): void;
}
