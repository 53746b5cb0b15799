import type { ToolUse } from '@rivulet/client';
import { element, icon, placeChildren } from '../dom.js';

/** Sends the visitor's decision. Rejects if the server did not take it. */
export type Decide = (callId: string, approved: boolean) => Promise<void>;

interface Row {
  readonly root: HTMLElement;
  readonly tool: ToolUse;
  readonly canDecide: boolean;
}

/**
 * Shows the tools that were called for an answer, in the order of the calls. A call that needs approval has buttons
 * as long as the answer is running. Hidden while there are no calls.
 */
export function createToolsView(decide: Decide): {
  root: HTMLElement;
  draw(tools: readonly ToolUse[], isRunning: boolean): void;
} {
  const root = element('ul', { class: 'tools', 'data-testid': 'tools', hidden: true });
  let rows: readonly Row[] = [];

  function rowOf(tool: ToolUse, known: Row | undefined, isRunning: boolean): Row {
    const canDecide = isRunning && needsDecision(tool);
    if (known?.tool === tool && known.canDecide === canDecide) return known;
    const row = element('li', { class: 'tool', 'data-status': tool.status }, icon('tool'));
    row.append(element('span', { class: 'tool-words', dir: 'auto' }, toolText(tool, isRunning)));
    if (canDecide) row.append(createArguments(tool), createDecision(tool, decide));
    return { root: row, tool, canDecide };
  }

  return {
    root,
    draw(tools, isRunning) {
      rows = tools.map((tool, index) => rowOf(tool, rows[index], isRunning));
      root.hidden = tools.length === 0;
      placeChildren(
        root,
        rows.map((row) => row.root),
      );
    },
  };
}

/** @returns true if the tool runs only after a user approved the call, and no user has decided yet. */
export function needsDecision({ status, awaits }: ToolUse): boolean {
  return status === 'awaiting' && awaits === 'approval';
}

/** Describes a tool's use in words, such as "Searched the docs for “offset”". */
export function toolText(tool: ToolUse, isRunning = true): string {
  const { name, arguments: args, status, awaits, approved } = tool;
  if (isRunning && needsDecision(tool)) return `${name} needs your approval`;
  if (approved === false) return `Refused ${name}`;
  if (awaits === 'approval' && approved === undefined) {
    return `${name} was not approved, and did not run`;
  }
  const query = (args as { query?: unknown } | null)?.query;
  const isDone = status === 'done' || status === 'failed';
  const what =
    name === 'search_docs' && typeof query === 'string'
      ? `${isDone ? 'Searched' : 'Searching'} the docs for “${query}”`
      : `${isDone ? 'Used' : 'Using'} ${name}`;
  return status === 'failed' ? `${what}, without success` : what;
}

function createArguments({ name, arguments: args }: ToolUse): HTMLElement {
  const text = JSON.stringify(args, undefined, 2);
  const attributes = { class: 'tool-arguments', dir: 'ltr', tabindex: '0', role: 'group' };
  return element('pre', { ...attributes, 'aria-label': `Arguments of ${name}` }, text);
}

function createDecision({ callId, name }: ToolUse, decide: Decide): HTMLElement {
  const root = element('span', { class: 'tool-decision' });

  function button(label: string, approved: boolean, kind: string): HTMLButtonElement {
    const created = element(
      'button',
      {
        type: 'button',
        class: kind,
        'aria-label': `${label} ${name}`,
        'data-testid': label.toLowerCase(),
      },
      label,
    );
    created.addEventListener('click', () => void send(approved));
    return created;
  }

  let isSent = false;
  async function send(approved: boolean): Promise<void> {
    if (isSent) return;
    markSent(true);
    // After a failure the visitor can decide again, unless the row is gone: another tab decided, or the answer ended.
    await decide(callId, approved).catch(() => markSent(false));
  }

  function markSent(sent: boolean): void {
    isSent = sent;
    for (const each of root.children) each.setAttribute('aria-disabled', String(sent));
  }

  root.append(button('Allow', true, 'action strong'), button('Refuse', false, 'action'));
  return root;
}
