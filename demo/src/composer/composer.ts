import type { Chat } from '@rivulet/client/chat';
import { map, type Observable, switchMap, tap } from 'rxjs';
import { find } from '../find.js';
import { fitHeight, isComposing } from './text-field.js';

export interface Composer {
  focus(): void;
}

export interface ComposerActions {
  onAsk(question: string): void;
  /** @returns true if there is a question to edit. */
  onEditLast(): boolean;
}

/** A click that was meant for Stop must not send the text in the field. */
const STOP_GUARD_MS = 700;

/** The field for questions of the open chat. One button asks, or stops the answer under way. */
export function createComposer(
  form: HTMLFormElement,
  chat$: Observable<Chat>,
  { onAsk, onEditLast }: ComposerActions,
): Composer {
  const field = find(form, 'textarea', HTMLTextAreaElement);
  const button = find(form, '#send', HTMLButtonElement);
  const queue = find(form, '#queue', HTMLButtonElement);
  let chat: Chat | undefined;
  let isBusy = false;
  let stopShownUntil = -Infinity;

  chat$
    .pipe(
      tap((opened) => (chat = opened)),
      switchMap(({ draft$ }) => draft$),
    )
    .subscribe((draft) => {
      if (draft === field.value) return;
      field.value = draft;
      settle();
    });
  chat$
    .pipe(
      switchMap(({ status$ }) => status$),
      map((status) => status === 'waiting' || status === 'streaming'),
    )
    .subscribe((busy) => {
      if (isBusy && !busy) stopShownUntil = performance.now();
      isBusy = busy;
      settle();
    });

  function settle(): void {
    const hasText = field.value.trim() !== '';
    const label = isBusy ? 'Stop' : 'Ask';
    button.dataset['mode'] = isBusy ? 'stop' : 'send';
    button.setAttribute('aria-label', label);
    button.title = isBusy ? 'Stop (Escape)' : label;
    // A disabled button would lose the focus.
    button.setAttribute('aria-disabled', String(!isBusy && !hasText));
    queue.hidden = !isBusy || !hasText;
    fitHeight(field);
  }

  function submit(): void {
    const question = field.value.trim();
    if (question === '' || chat === undefined) return;
    onAsk(question);
    field.value = '';
    chat.setDraft('');
    settle();
  }

  field.addEventListener('input', () => {
    chat?.setDraft(field.value);
    settle();
  });
  field.addEventListener('keydown', (event) => {
    if (isComposing(event)) return;
    if (event.key === 'ArrowUp' && field.value === '' && onEditLast()) event.preventDefault();
    if (event.key !== 'Enter' || event.shiftKey) return;
    event.preventDefault();
    submit();
  });
  button.addEventListener('click', () => {
    if (isBusy) return chat?.stop();
    if (performance.now() - stopShownUntil < STOP_GUARD_MS) return;
    submit();
    field.focus();
  });
  queue.addEventListener('click', () => {
    submit();
    field.focus();
  });
  form.addEventListener('submit', (event) => event.preventDefault());
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.defaultPrevented || isComposing(event)) return;
    // Escape closes a dialog that is open.
    if (document.querySelector('dialog[open]') !== null) return;
    if (isBusy) chat?.stop();
  });
  new ResizeObserver(() => fitHeight(field)).observe(form);
  settle();

  return { focus: () => field.focus() };
}
