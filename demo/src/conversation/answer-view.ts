import type { AssistantMessage, Chat } from '@rivulet/client/chat';
import { element, icon, iconButton, showText } from '../dom.js';
import { createMarkdownView } from '../markdown.js';
import { figures, modelLabel, notes, sourceLabel } from './answer-facts.js';
import { createCopyButton } from './copy.js';
import { endingText, nextSteps } from './ending.js';
import { errorText } from './errors.js';
import { createToolsView } from './tools-view.js';
import { createPager } from './versions.js';
import type { MessageView } from './view.js';

/** An answer: its thoughts, tools and text, how it ended, and what can be done then. */
export function createAnswerView(
  chat: Chat,
  first: AssistantMessage,
  onRephrase: () => void,
): MessageView<AssistantMessage> {
  let message = first;
  const thoughtsText = element('div', { class: 'thoughts-text', dir: 'auto', tabindex: '0' });
  const thoughtsTitle = element('summary', {});
  const thoughts = element('details', { class: 'thoughts', 'data-testid': 'thoughts' });
  thoughts.append(thoughtsTitle, thoughtsText);
  const tools = createToolsView((callId, approved) => chat.reply(message.id, callId, { approved }));
  const text = element('div', { class: 'prose text', dir: 'auto', 'data-testid': 'answer-text' });
  const dots = element('div', { class: 'dots', 'aria-hidden': 'true' });
  dots.append(element('i'), element('i'), element('i'));
  const error = element('p', { class: 'error', 'data-testid': 'error' });
  const note = element('p', { class: 'note', 'data-testid': 'note' });
  const ending = element('p', { class: 'ending', 'data-testid': 'ending' });

  const continueButton = action(
    'play',
    'Continue',
    'continue',
    () => void chat.continue(message.id),
  );
  const retry = action('again', 'Try again', 'retry', () => void chat.retry(message.id));
  const rephrase = action('edit', 'Change the question', 'rephrase', onRephrase);
  const outcome = element('div', { class: 'outcome' }, ending, continueButton, retry, rephrase);

  const badge = element('span', { class: 'badge', 'data-testid': 'badge' });
  const model = element('span', { class: 'model', 'data-testid': 'model' });
  const figuresLine = element('span', { class: 'figures', 'data-testid': 'figures' });
  const pager = createPager('answer', (version) => chat.selectVersion(message.id, version));
  const copy = createCopyButton('Copy the answer', () => message.text);
  const regenerate = iconButton('again', 'Regenerate: ask the model again, past every cache', {
    'data-testid': 'regenerate',
  });
  regenerate.addEventListener('click', () => void chat.regenerate(message.id));
  const buttons = element('span', { class: 'answer-buttons' }, pager.root, copy, regenerate);
  const facts = element('footer', { class: 'facts' }, badge, model, figuresLine, buttons);

  const root = element('article', { class: 'answer', tabindex: '-1', 'aria-label': 'Answer' });
  const end = element('div', { class: 'end' }, outcome, facts);
  root.append(thoughts, tools.root, text, dots, error, note, end);
  const markdown = createMarkdownView(text);

  return {
    root,
    draw(next) {
      message = next;
      const { answer } = next;
      const isRunning = next.ending === undefined;
      root.dataset['status'] = answer.status;
      root.dataset['ending'] = next.ending ?? '';
      root.setAttribute('aria-busy', String(isRunning));

      thoughts.hidden = answer.thoughts === '';
      const isThinking = isRunning && next.text === '';
      thoughtsTitle.textContent = isThinking ? 'Thinking…' : 'Thoughts';
      if (thoughtsText.textContent !== answer.thoughts) thoughtsText.textContent = answer.thoughts;
      tools.draw(answer.tools, isRunning);
      if (isRunning) markdown.draw(next.text);
      else markdown.finish(next.text);
      dots.hidden = !isThinking;

      showText(error, answer.error === undefined ? '' : errorText(answer.error, answer.requestId));
      showText(note, notes(answer));
      showText(ending, endingText(next));
      const { canContinue, canRetry, canRephrase } = nextSteps(next);
      continueButton.hidden = !canContinue;
      retry.hidden = !canRetry;
      rephrase.hidden = !canRephrase;
      outcome.hidden = isRunning;

      showText(badge, sourceLabel(next));
      badge.dataset['source'] = answer.source ?? '';
      showText(model, modelLabel(answer));
      const shownFigures = isRunning ? [] : figures(next);
      figuresLine.replaceChildren(...shownFigures.map((figure) => element('span', {}, figure)));
      figuresLine.hidden = shownFigures.length === 0;
      pager.draw(next);
      copy.hidden = isRunning || next.text === '';
      regenerate.hidden = isRunning;
      facts.hidden = isRunning && badge.hidden && pager.root.hidden;
    },
    focus: () => root.focus({ preventScroll: true }),
  };
}

function action(
  name: string,
  label: string,
  testId: string,
  onClick: () => void,
): HTMLButtonElement {
  const button = element(
    'button',
    { type: 'button', class: 'action strong', 'data-testid': testId },
    icon(name),
    label,
  );
  button.addEventListener('click', onClick);
  return button;
}
