import { mergeApplicationConfig } from '@angular/core';
import { bootstrapApplication, type BootstrapContext } from '@angular/platform-browser';
import { provideServerRendering, RenderMode, withRoutes } from '@angular/ssr';
import { AnswerComponent } from './app/answer';
import { config } from './app/config';

const onServer = mergeApplicationConfig(config, {
  providers: [provideServerRendering(withRoutes([{ path: '**', renderMode: RenderMode.Server }]))],
});

export default function bootstrap(context: BootstrapContext) {
  return bootstrapApplication(AnswerComponent, onServer, context);
}
