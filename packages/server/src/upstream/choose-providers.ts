import type { Logger } from '../observe/logger.js';
import { ConfigError } from '../settings/resolve-settings.js';
import { CORE_SETTINGS, type CoreSettings } from '../settings/settings.js';
import type { Deadlines } from './provider-call.js';
import { docs } from '../providers/docs/docs.js';
import { gemini } from '../providers/gemini/gemini.js';
import { ollama } from '../providers/ollama/ollama.js';
import type { ProviderConfig, Providers } from './failover.js';

/**
 * The providers of the mode. `auto` takes those that are available.
 *
 * @throws {ConfigError} the mode needs an API key and there is none.
 */
export async function chooseProviders(settings: CoreSettings, logger: Logger): Promise<Providers> {
  switch (settings.mode) {
    case 'api':
      return [api(settings)];
    case 'local':
      return [await local(settings, logger)];
    case 'hybrid':
      return [api(settings), await local(settings, logger)];
    case 'docs':
      return [builtIn()];
    case 'auto': {
      const found: ProviderConfig[] = [];
      if (settings.gemini.apiKey !== undefined) found.push(api(settings));
      const ofOllama = await local(settings, logger);
      if (isAvailable(ofOllama, settings)) found.push(ofOllama);
      const [first = builtIn(), ...rest] = found;
      if (found.length === 0) logNoModel(logger);
      return [first, ...rest];
    }
  }
}

function logNoModel(logger: Logger): void {
  const { mode, 'gemini.apiKey': apiKey, 'ollama.host': host } = CORE_SETTINGS;
  logger.warn({
    event: 'LLM_NO_MODEL_FOUND',
    mode: 'auto',
    provider: 'docs',
    hint:
      `set ${apiKey.env}, or start Ollama with a model (${host.env} if it runs elsewhere), and start the ` +
      `server again; ${mode.env}=docs chooses the documentation search, which answers now`,
  });
}

function api({ mode, gemini: options }: CoreSettings): ProviderConfig {
  const { apiKey, model, baseUrl, concurrency } = options;
  if (apiKey === undefined) {
    throw new ConfigError(
      `${CORE_SETTINGS['gemini.apiKey'].env} is not set; ${CORE_SETTINGS.mode.env} "${mode}" needs it; set it, or choose another mode: auto, local or docs`,
    );
  }
  const provider = gemini({ apiKey, model, ...(baseUrl !== undefined && { baseUrl }) });
  return { provider, deadlines: deadlinesOf(options), concurrency, retries: true };
}

/** Waits until it is known whether Ollama is there, for about a second at most if it is not. */
async function local(
  { mode, ollama: options }: CoreSettings,
  logger: Logger,
): Promise<ProviderConfig> {
  const { host, model, numCtx, keepAlive, preload, concurrency } = options;
  const deadlines = { ...deadlinesOf(options), loadMs: options.loadSeconds * 1_000 };
  const { loadMs } = deadlines;
  const isOptional = mode === 'auto';
  const provider = ollama({ host, model, numCtx, keepAlive, preload, loadMs, isOptional, logger });
  await provider.prepare?.();
  return { provider, deadlines, concurrency };
}

/** A model that the operator named is asked for, so that a wrong name is noticed. */
function isAvailable({ provider: { problem } }: ProviderConfig, settings: CoreSettings): boolean {
  if (problem === undefined) return true;
  return problem.failure === 'misconfigured' && settings.ollama.model !== undefined;
}

function deadlinesOf({
  firstChunkSeconds,
  stallSeconds,
  totalSeconds,
}: CoreSettings['gemini' | 'ollama']): Omit<Deadlines, 'loadMs'> {
  return {
    firstChunkMs: firstChunkSeconds * 1_000,
    stallMs: stallSeconds * 1_000,
    totalMs: totalSeconds * 1_000,
  };
}

function builtIn(): ProviderConfig {
  return { provider: docs() };
}
