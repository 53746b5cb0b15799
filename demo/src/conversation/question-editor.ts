import { fitHeight, isComposing } from '../composer/text-field.js';
import { element } from '../dom.js';

export interface EditorActions {
  save(text: string): void;
  /** Called after the editor is done, with or without a change. */
  close(): void;
}

/** A form that changes a question in its place. Enter saves, Escape leaves it as it was. */
export function createQuestionEditor(
  text: string,
  saveLabel: string,
  actions: EditorActions,
): { root: HTMLFormElement; open(): void } {
  const field = element('textarea', {
    'aria-label': 'Change the question',
    'data-testid': 'edit-field',
    dir: 'auto',
    rows: '1',
    maxlength: '32768',
  });
  field.value = text;
  const save = element('button', { type: 'submit', class: 'action strong' }, saveLabel);
  const cancel = element('button', { type: 'button', class: 'action' }, 'Cancel');
  const buttons = element('div', { class: 'editor-buttons' }, cancel, save);
  const root = element('form', { class: 'editor' }, field, buttons);

  function submit(): void {
    const changed = field.value.trim();
    if (changed === '') return;
    actions.close();
    if (changed !== text) actions.save(changed);
  }

  field.addEventListener('input', () => fitHeight(field));
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    submit();
  });
  root.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || isComposing(event)) return;
    // Escape must not stop the answer, too.
    event.preventDefault();
    actions.close();
  });
  root.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  cancel.addEventListener('click', () => actions.close());

  return {
    root,
    open() {
      fitHeight(field);
      field.focus();
      field.setSelectionRange(text.length, text.length);
    },
  };
}
