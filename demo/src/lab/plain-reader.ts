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
  /** Undefined until the answer to the page's question has begun. */
  readonly answer: PlainAnswer | undefined;
  /** The question whose answer it reads. */
  readonly question: string | undefined;
  /** Reads the newest answer to this question, in place of the one before; none if undefined. */
  follow(question: string | undefined): void;
  close(): void;
}

/** Reads answers of this server over Socket.IO with connection state recovery. */
export function createPlainReader(token: string, onChange: () => void): PlainReader {
  let answer: PlainAnswer | undefined;
  let followed: string | undefined;
  const socket = io({ path: '/lab/socket.io', transports: ['websocket'], query: { token } });

  socket.on('begin', (call: number, question: string) => {
    if (question !== followed) return;
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
    get question() {
      return followed;
    },
    follow(question) {
      answer = undefined;
      followed = question;
      if (question !== undefined) socket.emit('follow', question);
      onChange();
    },
    close: () => void socket.close(),
  };
}
