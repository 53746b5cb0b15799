import { BehaviorSubject, distinctUntilChanged, type Observable } from 'rxjs';

export interface Router {
  /** The id of the chat that the URL names; the newest at once, then each change. */
  readonly chatId$: Observable<string>;
  readonly chatId: string;
  open(chatId: string): void;
  /** Opens a chat that nobody has used. */
  openNew(): void;
}

const LINK = /^#\/chat\/([\w-]{1,64})$/;

/** The link of a chat on this page. */
export function linkTo(chatId: string): string {
  return `#/chat/${chatId}`;
}

/**
 * Shows in the URL which chat is open. A URL that names none gets the id of a new chat at once, so that a
 * reload finds its draft.
 */
export function createRouter(newId: () => string): Router {
  const ids = new BehaviorSubject(chatIdOf(location.hash) ?? replaceUrl(newId()));
  addEventListener('hashchange', () => {
    // A link to a place on the page, such as one in an answer, leaves the chat open.
    const isPlace = /^#[^/]/.test(location.hash);
    ids.next(chatIdOf(location.hash) ?? replaceUrl(isPlace ? ids.value : newId()));
  });
  const open = (chatId: string): void => {
    location.hash = linkTo(chatId);
  };
  return {
    chatId$: ids.pipe(distinctUntilChanged()),
    get chatId() {
      return ids.value;
    },
    open,
    openNew: () => open(newId()),
  };
}

function chatIdOf(hash: string): string | undefined {
  return LINK.exec(hash)?.[1];
}

/** Adds no entry to the history. */
function replaceUrl(chatId: string): string {
  history.replaceState(null, '', linkTo(chatId));
  return chatId;
}
