import { bootstrapApplication } from '@angular/platform-browser';
import { AnswerComponent } from './app/answer';
import { config } from './app/config';

bootstrapApplication(AnswerComponent, config).catch((error) => console.error(error));
