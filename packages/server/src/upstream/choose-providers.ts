import { hostname } from 'node:os';
import type { Logger } from '../observe/logger.js';
import { ConfigError } from '../settings/resolve-settings.js';
import { CORE_SETTINGS, type CoreSettings } from '../settings/settings.js';
import type { Deadlines } from './provider-call.js';
import { docs } from '../providers/docs/docs.js';
import { providerError, unreachable } from '../providers/failure.js';
import { GEMINI_ADVICE } from '../providers/gemini/errors.js';
import { gemini } from '../providers/gemini/gemini.js';
import { request } from '../providers/http.js';
import { ollama } from '../providers/ollama/ollama.js';
import { OPENAI_ADVICE } from '../providers/openai/errors.js';
import { openai } from '../providers/openai/openai.js';
import type { Provider, ProviderError } from '../providers/provider.js';
import type { ProviderConfig, Providers } from './failover.js';

/**
 * Creates the providers of the mode. `auto` uses the available ones, and `fallback` if there are none.
 *
 * @throws {ConfigError} the mode needs an API, but neither a key nor a URL is set.
 */
export async function chooseProviders(
  settings: CoreSettings,
  logger: Logger,
  fallback: ProviderConfig = builtIn(),
): Promise<Providers> {
  switch (settings.mode) {
    case 'api':
      return [await api(settings, logger)];
    case 'local':
      return [await local(settings, logger)];
    case 'hybrid':
      return [await api(settings, logger), await local(settings, logger)];
    case 'docs':
      return [builtIn()];
    case 'auto': {
      const found: ProviderConfig[] = [];
      if (apiOf(settings) !== undefined) found.push(await api(settings, logger));
      const ofOllama = await local(settings, logger);
      if (isAvailable(ofOllama, settings)) found.push(ofOllama);
      const [first = fallback, ...rest] = found;
      if (found.length === 0) logNoModel(logger, fallback.provider.name);
      return [first, ...rest];
    }
  }
}

function logNoModel(logger: Logger, provider: string): void {
  const { mode, 'ollama.host': host } = CORE_SETTINGS;
  logger.warn({
    event: 'LLM_NO_MODEL_FOUND',
    mode: 'auto',
    provider,
    hint:
      `set ${API_VARIABLES}, or start Ollama with a model (${host.env} if it runs elsewhere), and start the ` +
      `server again; ${mode.env}=docs chooses the documentation search`,
  });
}

const API_VARIABLES = [
  CORE_SETTINGS['gemini.apiKey'].env,
  CORE_SETTINGS['openai.apiKey'].env,
  CORE_SETTINGS['openai.baseUrl'].env,
].join(' or ');

/** @returns the configured API; undefined if there is none. */
function apiOf(settings: CoreSettings): CoreSettings['api'] {
  const { api: chosen, gemini: google, openai: compatible } = settings;
  const hasGemini = google.apiKey !== undefined;
  // A self-hosted server needs no key.
  const hasOpenAi = compatible.apiKey !== undefined || compatible.baseUrl !== undefined;
  if (hasGemini && chosen !== 'openai') return 'gemini';
  return hasOpenAi && chosen !== 'gemini' ? 'openai' : undefined;
}

async function api(settings: CoreSettings, logger: Logger): Promise<ProviderConfig> {
  switch (apiOf(settings)) {
    case 'gemini': {
      const { apiKey = '', model, baseUrl, concurrency } = settings.gemini;
      const provider = gemini({ apiKey, model, baseUrl });
      await checkAtStart(provider, baseUrl, GEMINI_ADVICE, logger);
      return { provider, deadlines: deadlinesOf(settings.gemini), concurrency, retries: true };
    }
    case 'openai': {
      const { apiKey, model, baseUrl, concurrency } = settings.openai;
      const provider = openai({ apiKey, model, baseUrl, logger });
      await checkAtStart(provider, baseUrl, OPENAI_ADVICE, logger);
      const deadlines = deadlinesOf(settings.openai);
      const pool = baseUrl && { pool: poolOf(provider.name, baseUrl) };
      return { provider, deadlines, concurrency, retries: true, ...pool };
    }
    case undefined:
      throw new ConfigError(withoutApi(settings));
  }
}

/** Logs the problem of a provider that would otherwise be found by the first question. */
async function checkAtStart(
  provider: Provider,
  baseUrl: string | undefined,
  advice: string,
  logger: Logger,
): Promise<void> {
  const isPrepared = provider.prepare !== undefined;
  await provider.prepare?.();
  const { name, problem } = provider;
  if (problem?.failure === 'misconfigured') {
    const event = 'LLM_PROVIDER_MISCONFIGURED';
    logger.error({ event, provider: name, model: provider.model, err: problem });
  } else if (problem !== undefined) {
    logger.warn({ event: 'LLM_PROVIDER_UNAVAILABLE', provider: name, err: problem });
  } else if (!isPrepared && baseUrl !== undefined) {
    const err = await unreachedAt(baseUrl, name, advice);
    if (err) logger.warn({ event: 'LLM_PROVIDER_UNAVAILABLE', provider: name, err });
  }
}

const PROBE_MS = 1_000;

/** @returns the error if nothing answers at the URL. Each response of HTTP is an answer. */
async function unreachedAt(
  url: string,
  name: string,
  advice: string,
): Promise<ProviderError | undefined> {
  const signal = AbortSignal.timeout(PROBE_MS);
  try {
    const { body } = await request(url, { signal });
    await body.drain(PROBE_MS);
    return undefined;
  } catch (error) {
    if (!signal.aborted) return unreachable(name, error, advice);
    const detail = `${name} did not answer within ${PROBE_MS} ms. ${advice}`;
    return providerError('unavailable', detail, { advice });
  }
}

function withoutApi({ mode, api: chosen }: CoreSettings): string {
  const { mode: modeSetting, api: apiSetting } = CORE_SETTINGS;
  const isMode = `${modeSetting.env} "${mode}"`;
  if (chosen === undefined) {
    return `${isMode} needs ${API_VARIABLES}, and none is set; set one, or choose another mode: auto, local or docs`;
  }
  const wanted =
    chosen === 'gemini'
      ? CORE_SETTINGS['gemini.apiKey'].env
      : `${CORE_SETTINGS['openai.apiKey'].env} or ${CORE_SETTINGS['openai.baseUrl'].env}`;
  return `${isMode} with ${apiSetting.env} "${chosen}" needs ${wanted}, which is not set; set it, or choose another mode: auto, local or docs`;
}

/** Waits until the availability of Ollama is known, for about a second at most. */
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
  return { provider, deadlines, concurrency, pool: poolOf(provider.name, host) };
}

/** A loopback address is a different server on each machine, so its pool has the name of the machine. */
function poolOf(name: string, url: string): string {
  const { host, hostname: address } = new URL(url);
  const isLoopback = /^(localhost|127\..*|\[::1\])$/.test(address);
  return isLoopback ? `${name} ${host} ${hostname()}` : `${name} ${host}`;
}

/** A model that the operator has set is always used, so that a wrong name causes an error. */
function isAvailable({ provider: { problem } }: ProviderConfig, settings: CoreSettings): boolean {
  if (problem === undefined) return true;
  return problem.failure === 'misconfigured' && settings.ollama.model !== undefined;
}

function deadlinesOf({
  firstChunkSeconds,
  stallSeconds,
  totalSeconds,
}: CoreSettings['gemini' | 'openai' | 'ollama']): Omit<Deadlines, 'loadMs'> {
  return {
    firstChunkMs: firstChunkSeconds * 1_000,
    stallMs: stallSeconds * 1_000,
    totalMs: totalSeconds * 1_000,
  };
}

function builtIn(): ProviderConfig {
  return { provider: docs() };
}
