/** Lets a queue end a request without readers in favour of a waiting one. */
export interface Preemption {
  /** True while every reader has detached and none has resumed. */
  readonly isPreemptible: boolean;
  /** Calls `listener` whenever `isPreemptible` changes. @returns a function that removes the listener. */
  onChange(listener: () => void): () => void;
  /** Ends the request. Its signal aborts before this method returns. */
  preempt(): void;
}
