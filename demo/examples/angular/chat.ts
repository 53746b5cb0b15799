import { Component } from '@angular/core';
import { createClient } from '@rivulet/client';
import { injectChat } from '@rivulet/client/angular';
import { Message } from './message.js';

const client = createClient();
const id = new URLSearchParams(location.search).get('chat') ?? 'example';

@Component({
  selector: 'app-chat',
  imports: [Message],
  template: `
    <section [attr.data-status]="chat.state().status">
      @for (message of chat.state().messages; track message.id) {
        <app-message [message]="message" [chat]="chat" />
      }
      <form (submit)="$event.preventDefault(); chat.send(chat.state().draft)">
        <input
          #question
          aria-label="Question"
          [value]="chat.state().draft"
          (input)="chat.setDraft(question.value)"
        />
        <button>Ask</button>
        <button type="button" (click)="chat.stop()">Stop</button>
      </form>
    </section>
  `,
})
export class Chat {
  protected readonly chat = injectChat(client, { id });
}
