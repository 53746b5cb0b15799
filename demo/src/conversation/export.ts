import type { ChatMessage } from '@rivulet/client/chat';
import { modelLabel } from './answer-facts.js';
import { endingText } from './ending.js';

/** The visible messages of a chat as Markdown. The text of an answer is exactly what the model wrote. */
export function toMarkdown(title: string, messages: readonly ChatMessage[]): string {
  const parts = messages.map((message) => {
    if (message.role === 'user') return `**You**\n\n${quote(message.text)}`;
    const model = modelLabel(message.answer);
    const isWhole = message.ending === 'complete';
    const ending = message.ending === undefined ? 'Not finished yet' : endingText(message);
    return [
      `**Answer**${model === '' ? '' : ` (${model})`}`,
      message.text,
      isWhole ? '' : `*${ending}.*`,
    ]
      .filter((part) => part !== '')
      .join('\n\n');
  });
  return `${[`# ${title}`, ...parts].join('\n\n')}\n`;
}

/** Saves the text as a file of the visitor. */
export function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/markdown' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}

/** A file name for a chat, without characters that a file system refuses. */
export function fileName(title: string): string {
  const name = title
    .replace(/[^\p{L}\p{N}]+/gu, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60);
  return `${name === '' ? 'chat' : name}.md`;
}

function quote(text: string): string {
  return text.replace(/^/gm, '> ');
}
