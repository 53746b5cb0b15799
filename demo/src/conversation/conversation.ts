import { perFrame } from '@rivulet/client';
import type { Chat } from '@rivulet/client/chat';
import { type Observable, switchMap } from 'rxjs';
import { showText } from '../dom.js';
import { createThread, type Thread } from './thread.js';

export interface Conversation {
  /** Edits the newest question in its place. @returns false if there is none. */
  editLast(): boolean;
}

/** Shows the messages of the open chat in `log`, or `welcome` while it has none. */
export function showConversation(
  { log, welcome, problem }: Record<'log' | 'welcome' | 'problem', HTMLElement>,
  chat$: Observable<Chat>,
  onOpened: () => void,
): Conversation {
  let thread: Thread | undefined;
  chat$
    .pipe(
      switchMap((chat) => {
        thread = createThread(chat, log);
        onOpened();
        return chat.state$.pipe(perFrame());
      }),
    )
    .subscribe(({ messages, status, storeError }) => {
      thread?.draw(messages);
      welcome.hidden = messages.length > 0 || status === 'loading';
      showText(
        problem,
        storeError === undefined
          ? ''
          : 'This browser does not keep the chat: its storage is full or blocked. The chat stays here until you close the page.',
      );
    });
  return { editLast: () => thread?.editLast() ?? false };
}
