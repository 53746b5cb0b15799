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

/** Converts a prompt to Gemini's request for `model`. */
export function toRequest(
  prompt: Prompt,
  model: string,
  wantsThoughts: boolean,
): GenerateContentRequest {
  const { tools = [], toolChoice = 'auto', stop = [] } = prompt;
  return {
    // The SDK's type of a part does not have signatures. The SDK sends the parts unchanged.
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
      // The SDK's types lack these fields. The SDK passes unknown fields on.
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
    // The SDK's type covers only a part of the API's schema.
    ...(schema && { parameters: schema as FunctionDeclarationSchema }),
  };
}
