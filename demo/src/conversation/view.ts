/** Draws one message of a chat. */
export interface MessageView<Message> {
  readonly root: HTMLElement;
  draw(message: Message): void;
  /** Moves the focus to the message. */
  focus(): void;
}
