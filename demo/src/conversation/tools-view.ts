import type { ToolUse } from '@rivulet/client';
import { element, icon } from '../dom.js';

/** Shows the tools that were called for an answer, in the order of the calls. Hidden while there are none. */
export function createToolsView(): {
  root: HTMLElement;
  draw(tools: readonly ToolUse[]): void;
} {
  const root = element('ul', { class: 'tools', 'data-testid': 'tools', hidden: true });
  let shown: readonly ToolUse[] = [];
  return {
    root,
    draw(tools) {
      if (tools === shown) return;
      shown = tools;
      root.hidden = tools.length === 0;
      root.replaceChildren(...tools.map(toolRow));
    },
  };
}

function toolRow(tool: ToolUse): HTMLLIElement {
  const row = element('li', { class: 'tool', 'data-status': tool.status }, icon('tool'));
  row.append(element('span', { class: 'tool-words', dir: 'auto' }, toolWords(tool)));
  return row;
}

/** What a tool does or did, such as "Searched the docs for “offset”". */
export function toolWords({ name, arguments: args, status }: ToolUse): string {
  const query = (args as { query?: unknown } | null)?.query;
  const isRunning = status === 'running';
  const what =
    name === 'search_docs' && typeof query === 'string'
      ? `${isRunning ? 'Searching' : 'Searched'} the docs for “${query}”`
      : `${isRunning ? 'Using' : 'Used'} ${name}`;
  return status === 'failed' ? `${what}, without success` : what;
}
