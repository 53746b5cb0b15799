export { StreamError } from '@rivulet/protocol';
export { type Config, ConfigError, readConfig } from './config.js';
export type { StreamBounds } from './deliver/streams.js';
export type { EndEntry, Entry, ErrorEntry, QueuedEntry, StartEntry, TextEntry } from './entry.js';
export {
  type CachedAnswer,
  createResponseCache,
  type ResponseCache,
  type ResponseCacheOptions,
} from './generate/cache.js';
export type { Deadlines } from './generate/deadline.js';
export type { PromptDefaults } from './generate/prompt.js';
export { docs, type DocsOptions } from './generate/providers/docs.js';
export { gemini, type GeminiOptions } from './generate/providers/gemini.js';
export { ollama, type OllamaOptions } from './generate/providers/ollama.js';
export {
  type Delta,
  type Prompt,
  type PromptMessage,
  type Provider,
  ProviderError,
  type ProviderFailure,
} from './generate/providers/provider.js';
export { scripted, type ScriptStep } from './generate/providers/scripted.js';
export type { ProviderStatus, Route, RouterOptions } from './generate/route.js';
export { LlmService, type LlmServiceOptions } from './generate/service.js';
export type { Candidate } from './generate/upstream.js';
export type { BreakerState, Gauges } from './observe/gauges.js';
export { createLogger, type Logger } from './observe/logger.js';
export { createMetrics, type StreamMetrics } from './observe/metrics.js';
export type { ModelCall } from './observe/model-call.js';
export type { GenerateRequest } from './request.js';
export { createServer, type RivuletServer, type ServerOptions } from './server.js';
