// oxlint-disable-next-line import/no-unassigned-import -- Angular compiles its component in the page
import '@angular/compiler';
import { Component, provideZonelessChangeDetection } from '@angular/core';
import { createApplication } from '@angular/platform-browser';
import type { Client } from '@rivulet/client';
import { injectAnswer, injectConnection } from '@rivulet/client/angular';
import {
  type AnswerActions,
  useAnswer as useAnswerInReact,
  type UseAnswerOptions,
  useConnection as useConnectionInReact,
} from '@rivulet/client/react';
import {
  createAnswer as createAnswerInSolid,
  createConnection as createConnectionInSolid,
} from '@rivulet/client/solid';
import {
  useAnswer as useAnswerInVue,
  useConnection as useConnectionInVue,
} from '@rivulet/client/vue';
import { createElement, Fragment, useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { createEffect } from 'solid-js';
import { render } from 'solid-js/web';
import { mount, unmount } from 'svelte';
import { createApp, h } from 'vue';
import View from './View.svelte';

export interface ViewProps {
  client: Client;
  options: UseAnswerOptions;
  /** Receives what the view can do. */
  ready: (actions: AnswerActions) => void;
}

/**
 * Mounts a view with an `<output>` of its answer (`status: text`) and an `<i>` of the connection's status.
 *
 * @returns a function that unmounts it.
 */
type Mount = (target: HTMLElement, props: ViewProps) => () => void | Promise<void>;

export const VIEWS: Record<string, Mount> = {
  react(target, { client, options, ready }) {
    function Chat() {
      const { state, ...actions } = useAnswerInReact(client, options);
      const connection = useConnectionInReact(client);
      useEffect(() => {
        ready(actions);
      });
      return createElement(
        Fragment,
        null,
        createElement('output', null, `${state.status}: ${state.text}`),
        createElement('i', null, connection.status),
      );
    }
    const root = createRoot(target);
    root.render(createElement(Chat));
    return () => root.unmount();
  },
  vue(target, { client, options, ready }) {
    const app = createApp({
      setup() {
        const { state, ...actions } = useAnswerInVue(client, options);
        const connection = useConnectionInVue(client);
        ready(actions);
        return () => [
          h('output', `${state.value.status}: ${state.value.text}`),
          h('i', connection.value.status),
        ];
      },
    });
    app.mount(target);
    return () => app.unmount();
  },
  svelte(target, props) {
    const view = mount(View, { target, props });
    return () => unmount(view);
  },
  solid: (target, { client, options, ready }) =>
    render(() => {
      const { state, ...actions } = createAnswerInSolid(client, options);
      const connection = createConnectionInSolid(client);
      const output = document.createElement('output');
      const italic = document.createElement('i');
      createEffect(() => (output.textContent = `${state().status}: ${state().text}`));
      createEffect(() => (italic.textContent = connection().status));
      ready(actions);
      return [output, italic];
    }, target),
  angular(target, { client, options, ready }) {
    class Chat {
      protected readonly answer = injectAnswer(client, options);
      protected readonly connection = injectConnection(client);

      constructor() {
        ready(this.answer);
      }
    }
    const template = `
      <output>{{ answer.state().status }}: {{ answer.state().text }}</output>
      <i>{{ connection().status }}</i>
    `;
    Component({ selector: 'app-chat', template })(Chat);
    const starting = createApplication({ providers: [provideZonelessChangeDetection()] });
    void starting.then((app) => app.bootstrap(Chat, target));
    return async () => (await starting).destroy();
  },
};
