import type { ReactElement } from 'react';

/** Asks the user whether a call may run. */
export function Approval({ decide }: { decide: (approved: boolean) => void }): ReactElement {
  return (
    <>
      <button onClick={() => decide(true)}>Approve</button>
      <button onClick={() => decide(false)}>Refuse</button>
    </>
  );
}
