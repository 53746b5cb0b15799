import type { GenerateOptions, Intent } from '@rivulet/protocol';
import type { GenerateRequest } from '../request.js';
import type { Prompt, ToolDeclaration } from '../providers/provider.js';

/** What the operator set for every answer; undefined leaves a value to the model. */
export interface PromptDefaults {
  systemPrompt: string;
  temperature?: number | undefined;
  topP?: number | undefined;
  topK?: number | undefined;
  /** Tokens; a request may ask for fewer, not for more. */
  maxTokens?: number | undefined;
}

/** The system prompt with the intent under it, the history, the question last; what may be called. */
export function buildPrompt(
  request: GenerateRequest,
  defaults: PromptDefaults,
  tools: readonly ToolDeclaration[] = [],
): Prompt {
  const { query, intent, context = [], options = {} } = request;
  const history = context.map(({ role, content }) => ({ role, text: content }));
  return {
    system: [defaults.systemPrompt, intent && describe(intent)].filter(Boolean).join('\n\n'),
    messages: [...history, { role: 'user', text: query }],
    ...(tools.length > 0 && { tools: tools.map(declarationOf) }),
    temperature: options.temperature ?? defaults.temperature,
    topP: options.top_p ?? defaults.topP,
    topK: options.top_k ?? defaults.topK,
    maxTokens: maxTokens(options, defaults),
  };
}

/** Of a tool only what the model is told, which is also what decides whether an answer is the same. */
function declarationOf({ name, description, parameters }: ToolDeclaration): ToolDeclaration {
  return { name, description, parameters };
}

function describe({ name, parameters = {} }: Intent): string {
  const values = Object.entries(parameters).map(([key, value]) => `${key}: ${value}`);
  return [`The user's intent: ${name}.`, ...values].join('\n');
}

function maxTokens(options: GenerateOptions, defaults: PromptDefaults): number | undefined {
  const asked = options.max_tokens ?? defaults.maxTokens;
  return asked === undefined ? undefined : Math.min(asked, defaults.maxTokens ?? asked);
}
