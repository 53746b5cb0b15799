import { find } from './find.js';

export interface Composer {
  /** Puts a question there to be changed. */
  put(question: string): void;
  focus(): void;
}

/** Where a question is written; `onAsk` gets each one that is sent, without outer white space. */
export function createComposer(form: HTMLFormElement, onAsk: (question: string) => void): Composer {
  const field = find(form, 'textarea', HTMLTextAreaElement);
  const send = find(form, 'button', HTMLButtonElement);

  function settle(): void {
    send.disabled = field.value.trim() === '';
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight}px`;
  }

  function submit(): void {
    const question = field.value.trim();
    if (question === '') return;
    field.value = '';
    settle();
    onAsk(question);
  }

  field.addEventListener('input', settle);
  field.addEventListener('keydown', (event) => {
    // Enter that ends an input method's composition picks a word; it does not send.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
    field.focus();
  });
  settle();
  field.focus();

  return {
    put(question) {
      field.value = question;
      settle();
      field.focus();
    },
    focus: () => field.focus(),
  };
}
