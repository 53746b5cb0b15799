export { StreamError } from '@rivulet/protocol';
export {
  attachRivulet,
  type AttachedRivulet,
  type AttachOptions,
  type ResponseSource,
} from './attach-rivulet.js';
export { createLlmService, type CreateLlmServiceOptions } from './create-llm-service.js';
export type {
  EndEntry,
  Entry,
  ErrorEntry,
  LoadingEntry,
  QueuedEntry,
  StartEntry,
  StreamedEntry,
  TextEntry,
  ThoughtEntry,
  ToolCallEntry,
  ToolResultEntry,
} from './entry.js';
export {
  type CachedAnswer,
  type CacheScope,
  createResponseCache,
  type ResponseCache,
  type ResponseCacheOptions,
} from './generate/cache.js';
export type {
  EndedStream,
  OnEnd,
  Prepare,
  PrepareContext,
  PreparedRequest,
  StreamQuestion,
  UsedTool,
} from './hooks.js';
export type { Deadlines } from './upstream/provider-call.js';
export type { PromptDefaults } from './generate/prompt.js';
export { docs, type DocsOptions } from './providers/docs/docs.js';
export { gemini, type GeminiOptions } from './providers/gemini/gemini.js';
export {
  languageModel,
  type LanguageModelOptions,
} from './providers/language-model/language-model.js';
export type { AiSdkModel } from './providers/language-model/model.js';
export { ollama, type OllamaOptions } from './providers/ollama/ollama.js';
export { openai, type OpenAiOptions } from './providers/openai/openai.js';
export {
  type AssistantMessage,
  type Delta,
  type JsonSchema,
  type ModelName,
  type Prompt,
  type PromptMessage,
  type Provider,
  ProviderError,
  type ProviderFailure,
  questionOf,
  type RawMessage,
  type ToolCall,
  type ToolDeclaration,
  type ToolMessage,
  type ToolOutcome,
  type ToolResult,
  type UserMessage,
} from './providers/provider.js';
export { mockProvider, type MockStep } from './providers/mock.js';
export type {
  FailoverOptions,
  ProviderConfig,
  ProviderProblem,
  ProviderStatus,
  Providers,
} from './upstream/failover.js';
export {
  type GenerateCallOptions,
  LlmService,
  type LlmServiceOptions,
  type CompleteResponse,
} from './generate/service.js';
export { currentTime } from './generate/tools/current-time.js';
export { searchDocs } from './generate/tools/search-docs.js';
export {
  defineTool,
  type Tool,
  type ToolContext,
  type ToolDefinition,
  ToolError,
  type ToolSchema,
} from './generate/tools/tool.js';
export type { ToolLimits } from './generate/tools/toolbox.js';
export type { BreakerState, Gauges } from './observe/gauges.js';
export { createLogger, type LogFields, type Logger } from './observe/logger.js';
export { createMetrics, type StreamMetrics } from './observe/metrics.js';
export type { ModelCall } from './observe/model-call.js';
export type { GenerateRequest } from './request.js';
export { createServer, type RivuletServer, type ServerOptions } from './server.js';
export { ConfigError, type Environment, resolveSettings } from './settings/resolve-settings.js';
export type {
  CoreLimits,
  CoreSettings,
  Limits,
  Settings,
  SocketLimits,
  SocketSettings,
} from './settings/settings.js';
export type { Authenticate, Credentials, Identity } from './socket/principal.js';
