import { Component } from '@angular/core';
import { createClient } from '@rivulet/client';
import { injectAnswer } from '@rivulet/client/angular';

const client = createClient();

@Component({
  selector: 'app-answer',
  template: `
    <form (submit)="$event.preventDefault(); answer.ask(question.value)">
      <input #question aria-label="Question" />
      <button>Ask</button>
      <button type="button" (click)="answer.stop()">Stop</button>
      <button type="button" (click)="answer.retry()">Retry</button>
    </form>
    <output [attr.data-status]="answer.state().status">{{ answer.state().text }}</output>
    @if (answer.state().error; as error) {
      <p role="alert">{{ error.message }}</p>
    }
  `,
})
export class Answer {
  protected readonly answer = injectAnswer(client);
}
