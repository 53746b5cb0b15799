/** True while an input method composes a word; its Enter picks the word and does not send. */
export function isComposing(event: KeyboardEvent): boolean {
  // Safari fires the Enter that ends a composition after it, with this key code.
  return event.isComposing || event.keyCode === 229;
}

/** Makes a field as high as its text. The style sheet bounds it. */
export function fitHeight(field: HTMLTextAreaElement): void {
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight}px`;
}
