/** Where our own server is known to break a rule: the test by its full name, and why. */
export const KNOWN: Readonly<Record<string, string>> = {
  'StreamAckRequest > is waited for once a window of 2 is full':
    'a reader with one unit of credit is sent two: log.read() rounds it up for surrogate pairs',
  'StreamAckRequest > that is smaller by one unit than the window gives one unit':
    'a reader with one unit of credit is sent two: log.read() rounds it up for surrogate pairs',
};
