import type { Chat, UserMessage } from '@rivulet/client/chat';
import { element, iconButton } from '../dom.js';
import { createCopyButton } from './copy.js';
import { createQuestionEditor } from './question-editor.js';
import { createPager } from './versions.js';
import type { MessageView } from './view.js';

export interface QuestionView extends MessageView<UserMessage> {
  edit(): void;
}

/** A question, its versions, and its form while it is edited. */
export function createQuestionView(chat: Chat, first: UserMessage): QuestionView {
  let message = first;
  const text = element('h2', { class: 'asked', dir: 'auto', 'data-testid': 'asked' });
  const waiting = element('span', { class: 'question-waiting', 'data-testid': 'queued' }, 'Queued');
  const copy = createCopyButton('Copy the question', () => message.text);
  const editButton = iconButton('edit', 'Edit the question', { 'data-testid': 'edit' });
  const removeButton = iconButton('trash', 'Remove the question', { 'data-testid': 'remove' });
  const pager = createPager('question', (version) => chat.selectVersion(message.id, version));
  const buttons = element('div', { class: 'question-buttons' });
  buttons.append(waiting, pager.root, copy, editButton, removeButton);
  const root = element('section', { class: 'question', tabindex: '-1' }, text, buttons);

  function edit(): void {
    if (!text.isConnected) return;
    const label = message.status === 'queued' ? 'Save' : 'Ask again';
    const editor = createQuestionEditor(message.text, label, {
      save: (changed) => void chat.edit(message.id, changed),
      close() {
        root.replaceChildren(text, buttons);
        editButton.focus();
      },
    });
    root.replaceChildren(editor.root);
    editor.open();
  }

  editButton.addEventListener('click', edit);
  removeButton.addEventListener('click', () => chat.remove(message.id));

  return {
    root,
    edit,
    draw(next) {
      message = next;
      const isQueued = next.status === 'queued';
      root.dataset['status'] = next.status;
      if (text.textContent !== next.text) text.textContent = next.text;
      waiting.hidden = removeButton.hidden = !isQueued;
      copy.hidden = isQueued;
      pager.draw(next);
    },
    focus: () => root.focus({ preventScroll: true }),
  };
}
