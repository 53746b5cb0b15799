import { Component } from '@angular/core';
import { injectAnswer } from '@rivulet/client/angular';
import { client } from './rivulet';

@Component({
  selector: 'app-answer',
  template: `
    <button (click)="answer.ask('What is a delta?')">Ask</button>
    <button (click)="answer.stop()">Stop</button>
    <p>{{ answer.state().text }}</p>
    @if (answer.state().error; as error) {
      <p role="alert">{{ error.message }}</p>
    }
  `,
})
export class AnswerComponent {
  readonly answer = injectAnswer(client);
}
