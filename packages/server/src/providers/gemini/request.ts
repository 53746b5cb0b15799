import {
  type Content,
  FunctionCallingMode,
  type FunctionDeclaration,
  type FunctionDeclarationSchema,
  type GenerateContentRequest,
} from '@google/generative-ai';
import { toContents } from './contents.js';
import { toGeminiSchema } from './schema.js';
import type { Prompt, ToolDeclaration } from '../provider.js';

const MAX_STOP_TEXTS = 5;

/** What `model` is asked, in Gemini's words. */
export function toRequest(
  prompt: Prompt,
  model: string,
  wantsThoughts: boolean,
): GenerateContentRequest {
  const { tools = [], toolChoice = 'auto', stop = [] } = prompt;
  return {
    // The SDK's type of a part knows no signature; it sends the parts as they are.
    contents: toContents(prompt.messages, model) as Content[],
    ...(prompt.system !== '' && { systemInstruction: prompt.system }),
    ...(tools.length > 0 && { tools: [{ functionDeclarations: tools.map(toDeclaration) }] }),
    ...(toolChoice === 'none' && {
      toolConfig: { functionCallingConfig: { mode: FunctionCallingMode.NONE } },
    }),
    generationConfig: {
      ...(prompt.temperature !== undefined && { temperature: prompt.temperature }),
      ...(prompt.topP !== undefined && { topP: prompt.topP }),
      ...(prompt.topK !== undefined && { topK: prompt.topK }),
      ...(prompt.maxTokens !== undefined && { maxOutputTokens: prompt.maxTokens }),
      ...(stop.length > 0 && { stopSequences: stop.slice(0, MAX_STOP_TEXTS) }),
      // The SDK's types are older than these; it passes on what it does not know.
      ...(prompt.seed !== undefined && { seed: prompt.seed }),
      ...(prompt.responseSchema !== undefined && {
        responseMimeType: 'application/json',
        responseJsonSchema: prompt.responseSchema,
      }),
      ...(wantsThoughts && { thinkingConfig: { includeThoughts: true } }),
    },
  };
}

function toDeclaration(tool: ToolDeclaration): FunctionDeclaration {
  const { name, description, parameters, isClientTool } = tool;
  if (isClientTool) {
    const declaration = { name, description, parametersJsonSchema: parameters };
    return declaration;
  }
  const schema = toGeminiSchema(parameters);
  return {
    name,
    description,
    // Of what the wire takes the SDK's type knows a part.
    ...(schema && { parameters: schema as FunctionDeclarationSchema }),
  };
}
