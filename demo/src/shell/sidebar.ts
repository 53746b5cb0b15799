import type { ActiveAnswer, Client } from '@rivulet/client';
import { type ChatStore, type ChatSummary, listChats, renameChat } from '@rivulet/client/chat';
import {
  catchError,
  combineLatest,
  debounceTime,
  distinctUntilChanged,
  fromEvent,
  map,
  type Observable,
  of,
  startWith,
  switchMap,
} from 'rxjs';
import { element, placeChildren, showText } from '../dom.js';
import { find } from '../find.js';
import { createChatDeletion } from './chat-deletion.js';
import { type ChatRow, createChatRow } from './chat-row.js';
import { createChatSearch, type SearchResult } from './chat-search.js';
import type { Router } from './router.js';

export interface Sidebar {
  /** The listed chats: at once, then each change in any tab. */
  readonly chats$: Observable<readonly ChatSummary[]>;
}

const SEARCH_MS = 150;

/** The list of chats in `nav`: search, open, rename and delete. */
export function createSidebar(
  nav: HTMLElement,
  { client, store, router }: { client: Client; store: ChatStore; router: Router },
): Sidebar {
  const list = find(nav, '#chats', HTMLElement);
  const search = find(nav, '#search', HTMLInputElement);
  const emptyMessage = find(nav, '#no-chats', HTMLElement);
  const newChatButton = find(nav, '#new-chat', HTMLButtonElement);
  const rows = new Map<string, ChatRow>();
  const findChats = createChatSearch(store);
  const notice = find(nav, '#undo', HTMLElement);
  const deletion = createChatDeletion(client, store, notice, (chatId) => router.open(chatId));

  const chats$ = listChats(client, store).pipe(
    // A browser without a usable store lists nothing; the chat itself says so.
    catchError(() => of([])),
    startWith([]),
  );
  const words$ = fromEvent(search, 'input').pipe(
    debounceTime(SEARCH_MS),
    map(() => search.value.trim()),
    startWith(''),
    distinctUntilChanged(),
  );
  const results$ = combineLatest([chats$, words$]).pipe(
    switchMap(async ([chats, words]) => ({ words, results: await resultsOf(chats, words) })),
  );
  combineLatest([results$, router.chatId$, client.active$.pipe(startWith([]))]).subscribe(
    ([{ words, results }, openId, active]) => show(words, results, openId, active),
  );

  async function resultsOf(
    chats: readonly ChatSummary[],
    words: string,
  ): Promise<readonly SearchResult[]> {
    if (words !== '') return findChats(chats, words);
    return chats.map((chat) => ({ chat, preview: undefined }));
  }

  function show(
    words: string,
    results: readonly SearchResult[],
    openId: string,
    active: readonly ActiveAnswer[],
  ): void {
    const answering = new Set(active.map(({ sessionId }) => sessionId));
    const items = results.map((result) => {
      const { id } = result.chat;
      const row = rows.get(id) ?? addRow(id);
      row.show(result, { isOpen: id === openId, isAnswering: answering.has(id) });
      return row.item;
    });
    const shown = new Set(results.map(({ chat }) => chat.id));
    for (const id of rows.keys()) if (!shown.has(id)) rows.delete(id);
    placeChildren(list, items);
    list.hidden = items.length === 0;
    showText(
      emptyMessage,
      items.length > 0 ? '' : words === '' ? 'No chats yet.' : 'Nothing found.',
    );
  }

  function addRow(chatId: string): ChatRow {
    const row = createChatRow(chatId, {
      rename: (title) => void renameChat(client, chatId, title, store),
      remove: () => void remove(chatId),
    });
    rows.set(chatId, row);
    return row;
  }

  /** The focus goes to the chat that comes after, and the page to a new one if this one is open. */
  async function remove(chatId: string): Promise<void> {
    const item = rows.get(chatId)?.item;
    const next = (item?.nextElementSibling ?? item?.previousElementSibling)?.querySelector('a');
    (next ?? newChatButton).focus();
    await deletion.remove(chatId);
    if (router.chatId === chatId) router.openNew();
  }

  search.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || search.value === '') return;
    event.preventDefault();
    search.value = '';
    search.dispatchEvent(new Event('input'));
  });
  return { chats$ };
}

/** Shows the title of the open chat in the page's heading and in the browser's tab. */
export function showTitle(
  heading: HTMLElement,
  chats$: Observable<readonly ChatSummary[]>,
  chatId$: Observable<string>,
): Observable<string> {
  const title$ = combineLatest([chats$, chatId$]).pipe(
    map(([chats, openId]) => chats.find(({ id }) => id === openId)?.title ?? 'New chat'),
    distinctUntilChanged(),
  );
  title$.subscribe((title) => {
    heading.replaceChildren(element('span', { dir: 'auto' }, title));
    document.title = title === 'New chat' ? 'Rivulet' : `${title} · Rivulet`;
  });
  return title$;
}
