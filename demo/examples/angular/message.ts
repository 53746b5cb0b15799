import { ChangeDetectionStrategy, Component, Input, signal } from '@angular/core';
import type { ChatActions } from '@rivulet/client/angular';
import type { ChatMessage } from '@rivulet/client/chat';
import { countdown } from '../countdown.js';

@Component({
  selector: 'app-message',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    @let answer = message.role === 'assistant' ? message : undefined;
    @let status = message.role === 'user' ? message.status : message.answer.status;
    <article [attr.data-role]="message.role" [attr.data-status]="answer?.ending ?? status">
      <p>{{ message.text }}</p>
      <p role="alert" [hidden]="!answer?.answer?.error">{{ answer?.answer?.error?.message }}</p>
      <nav [hidden]="message.versionCount === 1">
        <button (click)="chat.selectVersion(message.id, message.version - 1)">Previous</button>
        {{ message.version + 1 }} / {{ message.versionCount }}
        <button (click)="chat.selectVersion(message.id, message.version + 1)">Next</button>
      </nav>
      <button [hidden]="answer" (click)="chat.edit(message.id, ask(message.text))">Edit</button>
      <button [hidden]="!answer?.ending" (click)="chat.regenerate(message.id)">Regenerate</button>
      <button [hidden]="!answer?.canContinue" (click)="chat.continue(message.id)">Continue</button>
      <button [hidden]="!answer?.answer?.error" (click)="chat.retry(message.id)">Retry</button>
      <span [hidden]="seconds() === 0">in {{ seconds() }} s</span>
    </article>
  `,
})
export class Message {
  @Input({ required: true }) chat!: ChatActions;
  @Input({ required: true }) message!: ChatMessage;
  protected readonly seconds = signal(0);
  protected readonly ask = (text: string) => prompt('Question', text) ?? '';
  /** The countdown also ends by itself. */
  private stop = (): void => {};
  ngOnChanges(): void {
    this.stop();
    const { retryAt } = this.message.role === 'assistant' ? this.message.answer : {};
    this.stop = countdown(retryAt, (left) => this.seconds.set(left));
  }
}
