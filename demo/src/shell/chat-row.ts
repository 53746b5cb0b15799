import { element, icon, iconButton, showText } from '../dom.js';
import type { SearchResult } from './chat-search.js';
import { linkTo } from './router.js';

export interface ChatRowActions {
  rename(title: string): void;
  remove(): void;
}

export interface ChatRow {
  readonly item: HTMLLIElement;
  show(result: SearchResult, state: { isOpen: boolean; isAnswering: boolean }): void;
  focus(): void;
}

/** A chat in the sidebar: a link, and buttons to rename and delete it. */
export function createChatRow(chatId: string, actions: ChatRowActions): ChatRow {
  const title = element('span', { class: 'chat-title', dir: 'auto' });
  const answering = element(
    'span',
    { class: 'chat-answering', title: 'An answer is under way' },
    element('span', { class: 'visually-hidden' }, '(an answer is under way)'),
  );
  const preview = element('span', { class: 'chat-preview', dir: 'auto' });
  const link = element(
    'a',
    { class: 'chat-link', href: linkTo(chatId) },
    icon('chat'),
    element('span', { class: 'chat-words' }, title, preview),
    answering,
  );
  const rename = iconButton('edit', 'Rename');
  const remove = iconButton('trash', 'Delete');
  const buttons = element('span', { class: 'chat-buttons' }, rename, remove);
  const item = element('li', { class: 'chat-row', 'data-testid': 'chat' }, link, buttons);

  rename.addEventListener('click', () => {
    const field = element('input', {
      class: 'chat-rename',
      'aria-label': 'Title of the chat',
      maxlength: '200',
      dir: 'auto',
    });
    field.value = title.textContent;
    let isDone = false;
    const finish = (isKept: boolean, hasFocus: boolean): void => {
      if (isDone) return;
      isDone = true;
      const wanted = field.value.trim();
      if (isKept && wanted !== '' && wanted !== title.textContent) {
        title.textContent = wanted;
        actions.rename(wanted);
      }
      item.replaceChildren(link, buttons);
      if (hasFocus) rename.focus();
    };
    field.addEventListener('keydown', (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key !== 'Enter' && event.key !== 'Escape') return;
      event.preventDefault();
      finish(event.key === 'Enter', true);
    });
    field.addEventListener('blur', () => finish(true, false));
    item.replaceChildren(field);
    field.select();
  });
  remove.addEventListener('click', () => actions.remove());

  return {
    item,
    show({ chat, preview: found }, { isOpen, isAnswering }) {
      if (title.textContent !== chat.title) title.textContent = chat.title;
      link.title = chat.title;
      rename.setAttribute('aria-label', `Rename ${chat.title}`);
      remove.setAttribute('aria-label', `Delete ${chat.title}`);
      if (isOpen) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
      answering.hidden = !isAnswering;
      preview.hidden = found === undefined;
      if (found === undefined) showText(preview, '');
      else preview.replaceChildren(found.before, element('mark', {}, found.found), found.after);
    },
    focus: () => link.focus(),
  };
}
