import { createClient } from '@rivulet/client';
import { createComposer } from './composer.js';
import { showConnection } from './connection-badge.js';
import { createConversation } from './conversation.js';
import { createDocsDialog } from './docs-dialog.js';
import { find } from './find.js';
import { createBottomScroll } from './scroll.js';

const suggestions = [
  'What is Rivulet?',
  'How do I use the client?',
  'What happens to an answer when the connection drops?',
  'How do I add Gemini or Ollama?',
];

const client = createClient({ cache: {} });

showConnection(find(document, '.connection', HTMLElement), client.connection$);
createDocsDialog(find(document, '#docs', HTMLDialogElement));

const welcome = find(document, '#welcome', HTMLElement);
const scroll = createBottomScroll(
  find(document, '#reading', HTMLElement),
  find(document, '#thread', HTMLElement),
  find(document, '#jump', HTMLButtonElement),
);
const conversation = createConversation(client, find(document, '#log', HTMLElement), {
  onAsk() {
    welcome.hidden = true;
    scroll.stick();
  },
  onEdit: (query) => composer.put(query),
});
const composer = createComposer(find(document, '#composer', HTMLFormElement), (question) =>
  conversation.ask(question),
);

conversation.goOn();

find(document, '#suggestions', HTMLElement).append(...suggestions.map(createSuggestion));

const clear = find(document, '#clear', HTMLButtonElement);
const cleared = find(document, '#cleared', HTMLElement);
clear.addEventListener('click', () => void clearAnswers());

function createSuggestion(question: string): HTMLElement {
  const item = document.createElement('li');
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = question;
  button.addEventListener('click', () => {
    conversation.ask(question);
    // On a touch screen the focus would bring up the keyboard, over the answer.
    if (matchMedia('(pointer: fine)').matches) composer.focus();
  });
  item.append(button);
  return item;
}

async function clearAnswers(): Promise<void> {
  await client.cache.clear();
  cleared.textContent = 'Cleared.';
  setTimeout(() => (cleared.textContent = ''), 3000);
}
