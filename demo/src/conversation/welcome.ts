import { element, icon } from '../dom.js';

export interface Suggestion {
  readonly icon: string;
  readonly title: string;
  readonly question: string;
}

export const SUGGESTIONS: readonly Suggestion[] = [
  { icon: 'spark', title: 'Get to know it', question: 'What is Rivulet?' },
  {
    icon: 'plug',
    title: 'Lose the connection',
    question: 'What happens to an answer when the connection drops?',
  },
  { icon: 'code', title: 'Build with it', question: 'How do I create a client?' },
  {
    icon: 'chat',
    title: 'See a long answer',
    question: 'Show me an answer with code, a table and a formula',
  },
];

/** Fills the list of questions that a new chat offers. */
export function showSuggestions(list: HTMLElement, onAsk: (question: string) => void): void {
  list.append(
    ...SUGGESTIONS.map(({ icon: name, title, question }) => {
      const button = element(
        'button',
        { type: 'button', class: 'suggestion' },
        icon(name),
        element('span', { class: 'suggestion-title' }, title),
        element('span', { class: 'suggestion-question' }, question),
      );
      button.addEventListener('click', () => onAsk(question));
      return element('li', {}, button);
    }),
  );
}
