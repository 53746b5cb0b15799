import { type Answer, type AnswerSnapshot, type AnswerStatus, perFrame } from '@rivulet/client';
import { BehaviorSubject, map, of, switchMap, timer } from 'rxjs';
import { figures, note, sourceLabel, toolsNote } from './answer-facts.js';
import { explain } from './errors.js';
import { find } from './find.js';
import { createMarkdownView } from './markdown.js';

export interface AnswerActions {
  /** Asks the same once more, for this article. */
  retry(): Answer;
  /** Asks the same in an article of its own. */
  again(cache: 'default' | 'reload'): void;
  /** Puts the question back into the composer. */
  edit(): void;
}

const words: Record<AnswerStatus, string> = {
  queued: 'Waiting for a turn',
  loading: 'Loading the model',
  waiting: 'Waiting for the answer',
  streaming: 'The answer is coming',
  reconnecting: 'Connection lost. The answer goes on from here as soon as it is back.',
  done: 'Answer complete',
  cancelled: 'Stopped',
  failed: 'Failed',
  released: 'Released',
};

/** An article with the question and whatever becomes of its answer. */
export function createAnswerView(first: Answer, actions: AnswerActions): HTMLElement {
  const template = find(document, '#answer', HTMLTemplateElement);
  const article = find(document.importNode(template.content, true), 'article', HTMLElement);
  const part = (selector: string): HTMLElement => find(article, selector, HTMLElement);
  const button = (id: string): HTMLButtonElement =>
    find(article, `[data-testid=${id}]`, HTMLButtonElement);

  const asked = part('.asked');
  const text = part('.text');
  const dots = part('.dots');
  const noteLine = part('[data-part=note]');
  const toolsLine = part('[data-testid=tools]');
  const state = part('.state');
  const error = part('.error');
  const badge = part('.badge');
  const figuresLine = part('[data-part=figures]');
  const [stop, retry, edit] = [button('stop'), button('retry'), button('edit')];
  const [copy, again, afresh] = [button('copy'), button('again'), button('afresh')];

  const markdown = createMarkdownView(text);
  const answers = new BehaviorSubject(first);

  stop.addEventListener('click', () => answers.value.cancel());
  retry.addEventListener('click', () => answers.next(actions.retry()));
  edit.addEventListener('click', () => actions.edit());
  again.addEventListener('click', () => actions.again('default'));
  afresh.addEventListener('click', () => actions.again('reload'));
  copy.addEventListener('click', () => void copyText(copy, answers.value.getSnapshot().text));

  function draw(snapshot: AnswerSnapshot): void {
    const { status, source } = snapshot;
    const isRunning = !['done', 'cancelled', 'failed', 'released'].includes(status);
    const isRetryable = snapshot.error?.retryable ?? false;
    const hadFocus = article.contains(document.activeElement);

    article.dataset['status'] = status;
    // A screen reader is to hear the answer once it is whole, not word by word.
    article.setAttribute('aria-busy', String(isRunning));
    asked.textContent = snapshot.query;
    if (isRunning) markdown.draw(snapshot.text);
    else markdown.finish(snapshot.text);
    dots.hidden = !isRunning || snapshot.text !== '';
    show(noteLine, note(snapshot));
    show(toolsLine, toolsNote(snapshot));
    state.textContent = stateLine(snapshot);
    show(error, snapshot.error === undefined ? '' : explain(snapshot.error));

    show(badge, source === undefined ? '' : sourceLabel(snapshot));
    badge.dataset['source'] = source ?? '';
    badge.title = snapshot.provider ?? '';
    figuresLine.textContent = isRunning ? '' : figures(snapshot);

    stop.hidden = !isRunning;
    retry.hidden = !(status === 'cancelled' || (status === 'failed' && isRetryable));
    edit.hidden = status !== 'failed' || isRetryable;
    copy.hidden = isRunning || snapshot.text === '';
    again.hidden = afresh.hidden = status !== 'done';
    // The button that had the focus may be gone: stay in the article, do not fall to the page.
    if (hadFocus && !isVisible(document.activeElement)) article.focus({ preventScroll: true });
  }

  const ticking = (snapshot: AnswerSnapshot) =>
    snapshot.status === 'waiting' && snapshot.retryAt !== undefined
      ? timer(0, 1_000).pipe(map(() => snapshot))
      : of(snapshot);
  answers
    .pipe(switchMap((answer) => answer.state$.pipe(perFrame(), switchMap(ticking))))
    .subscribe(draw);
  return article;
}

function stateLine({ status, ahead, loading }: AnswerSnapshot): string {
  if (ahead !== undefined) return `${ahead} ahead of you`;
  return loading === undefined ? words[status] : `Loading ${loading.model}`;
}

function show(element: HTMLElement, content: string): void {
  element.textContent = content;
  element.hidden = content === '';
}

function isVisible(element: Element | null): boolean {
  return element !== null && element !== document.body && element.checkVisibility();
}

async function copyText(button: HTMLButtonElement, text: string): Promise<void> {
  const label = find(button, 'span', HTMLElement);
  const outcome = await navigator.clipboard?.writeText(text).then(
    () => 'Copied',
    () => 'Not allowed',
  );
  label.textContent = outcome ?? 'Not allowed';
  setTimeout(() => (label.textContent = 'Copy'), 2000);
}
