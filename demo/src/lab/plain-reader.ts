import { io } from 'socket.io-client';
import { createMeter, type Meter } from './meter.js';

/** The answer as a page without Rivulet has it: every text that Socket.IO delivered, joined. */
export interface PlainAnswer {
  call: number;
  question: string;
  text: string;
  status: 'waiting' | 'streaming' | 'done' | 'failed';
  meter: Meter;
}

export interface PlainReader {
  /** Undefined until an answer has begun while it was connected. */
  readonly answer: PlainAnswer | undefined;
  close(): void;
}

/**
 * Reads the newest answer of this server over Socket.IO with connection state recovery.
 *
 * @param ignored a question whose answers are not read.
 */
export function createPlainReader(
  token: string,
  ignored: string,
  onChange: () => void,
): PlainReader {
  let answer: PlainAnswer | undefined;
  const socket = io({ path: '/lab/socket.io', transports: ['websocket'], query: { token } });

  socket.once('connect', () => socket.emit('replay'));
  socket.on('begin', (call: number, question: string) => {
    if (question === ignored) return;
    answer = { call, question, text: '', status: 'waiting', meter: createMeter() };
    onChange();
  });
  socket.on('text', (call: number, text: string) => {
    if (answer?.call !== call) return;
    answer.text += text;
    answer.status = 'streaming';
    answer.meter.grow(answer.text.length);
    onChange();
  });
  socket.on('end', (call: number, failure: string | null) => {
    if (answer?.call !== call) return;
    answer.status = failure === null ? 'done' : 'failed';
    onChange();
  });

  return {
    get answer() {
      return answer;
    },
    close: () => void socket.close(),
  };
}
