import { createClient } from '@rivulet/client';
import { type Chat, createChat, createChatStore } from '@rivulet/client/chat';
import { announce } from './composer/announcer.js';
import { createComposer } from './composer/composer.js';
import { createStatus, showStatus } from './composer/status-line.js';
import { showConversation } from './conversation/conversation.js';
import { download, fileName, toMarkdown } from './conversation/export.js';
import { createBottomScroll } from './conversation/scroll.js';
import { showSuggestions } from './conversation/welcome.js';
import { find } from './find.js';
import { loadLab } from './load-lab.js';
import { followOpenChat } from './open-chat.js';
import { showConnection } from './shell/connection-badge.js';
import { createDocsDialog } from './shell/docs-dialog.js';
import { createDrawer } from './shell/drawer.js';
import { createClearData } from './shell/forget.js';
import { createRouter } from './shell/router.js';
import { createSidebar, showTitle } from './shell/sidebar.js';
import { createThemeSwitch } from './shell/theme.js';

const byId = (id: string): HTMLElement => find(document, `#${id}`, HTMLElement);
const buttonOf = (id: string): HTMLButtonElement => find(document, `#${id}`, HTMLButtonElement);
const hasMouse = matchMedia('(pointer: fine)');

const client = createClient({ cache: {} });
const store = createChatStore(client);
const router = createRouter(() => chatWith(undefined).id);
const { chat$, state$, answer$ } = followOpenChat(client, chatWith, router.chatId$);

// The sidebar
const sidebar = createSidebar(byId('sidebar'), { client, store, router });
const drawer = createDrawer(byId('sidebar'), byId('page'), {
  open: byId('open-sidebar'),
  close: byId('close-sidebar'),
  backdrop: byId('backdrop'),
  skip: byId('skip'),
});
createThemeSwitch(byId('theme'));
createClearData(
  buttonOf('forget'),
  find(document, '#forget-dialog', HTMLDialogElement),
  client,
  () => router.openNew(),
);
buttonOf('new-chat').addEventListener('click', () => {
  if (chat.getSnapshot().messages.length > 0) router.openNew();
  drawer.close();
  composer.focus();
});

// The header
let title = '';
showTitle(byId('title'), sidebar.chats$, router.chatId$).subscribe((next) => (title = next));
showConnection(byId('connection'), client.connection$);
buttonOf('export').addEventListener('click', () =>
  download(fileName(title), toMarkdown(title, chat.getSnapshot().messages)),
);
void loadLab(byId('lab'), buttonOf('lab-toggle'), { client, currentAnswer$: answer$ });
createDocsDialog(find(document, '#docs', HTMLDialogElement));

// The conversation
let chat = chatWith(router.chatId);
chat$.subscribe((opened) => (chat = opened));
state$.subscribe(({ messages }) => (buttonOf('export').hidden = messages.length === 0));
const scroll = createBottomScroll(byId('reading'), byId('thread'), buttonOf('jump'));
const conversation = showConversation(
  { log: byId('log'), welcome: byId('welcome'), problem: byId('store-problem') },
  chat$,
  () => scroll.stick(),
);
showSuggestions(byId('suggestions'), (question) => {
  ask(question);
  // On a touch screen the focus would bring up the keyboard, over the answer.
  if (hasMouse.matches) composer.focus();
});

// The composer
const composer = createComposer(find(document, '#composer', HTMLFormElement), chat$, {
  onAsk: ask,
  onEditLast: () => conversation.editLast(),
});
const status$ = createStatus(state$, client.connection$);
showStatus(byId('status'), status$);
announce(byId('announcer'), chat$, status$);
router.chatId$.subscribe(() => {
  drawer.close();
  if (hasMouse.matches) composer.focus();
});

/** @returns the chat with this id, or a new one. */
function chatWith(id: string | undefined): Chat {
  // Thoughts are shown where the model has them.
  return createChat(client, { id, store, options: { thoughts: true, onRateLimit: 'wait' } });
}

function ask(question: string): void {
  void chat.send(question);
  scroll.stick();
}
