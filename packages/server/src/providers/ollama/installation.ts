import type { Logger } from '../../observe/logger.js';
import { providerError } from '../failure.js';
import { ProviderError } from '../provider.js';
import { toAddress } from './address.js';
import { cannotChat, missingModel, noModel, OLLAMA_ADVICE } from './errors.js';
import { canChat, findModel, type OllamaModel, ollamaVersion } from './inspect.js';

/** The model of requests if Ollama has never listed its models. */
const DEFAULT_MODEL = 'llama3.2';

/** The server's start waits so many milliseconds for an Ollama that does not respond. */
const FIRST_LIMIT_MS = 1_000;
const LIMIT_MS = 5_000;
/** The state is checked again after this time, or after the shorter one while there is a problem. */
const FRESH_MS = 30_000;
const PROBLEM_FRESH_MS = 2_000;

export interface InstallationOptions {
  host: string;
  /** The newest model that can chat unless given. */
  model: string | undefined;
  /** True if a missing Ollama is not a problem until it was found once. */
  isOptional: boolean;
  logger: Logger | undefined;
  /** Called when the model was found, and when another one replaced it. */
  onFound(model: OllamaModel): void;
}

/** The state of an Ollama and of the model that answers. */
export interface Installation {
  readonly model: string;
  /** See `Provider`. */
  readonly problem: ProviderError | undefined;
  /** The error that every request fails with: the model is not installed, or it cannot chat. */
  readonly refusal: ProviderError | undefined;
  /** See `Provider`. */
  prepare(): Promise<void> | undefined;
  /** Called when Ollama has accepted a request for an answer. */
  noteAnswer(): void;
  /** Called when a request for an answer failed before its headers arrived. */
  noteFailure(error: ProviderError): void;
}

type State =
  | { status: 'unknown' }
  | { status: 'away'; error: ProviderError }
  | { status: 'refused'; error: ProviderError }
  | { status: 'found' };

export function createInstallation({
  host,
  model: configured,
  isOptional,
  logger,
  onFound,
}: InstallationOptions): Installation {
  let state: State = { status: 'unknown' };
  /** The model that was found last. */
  let known: OllamaModel | undefined;
  let lastSeen = '';
  let inspectedAt: number | undefined;
  let inspection: Promise<void> | undefined;
  let isDue = false;

  async function inspect(): Promise<void> {
    const limitMs = inspectedAt === undefined ? FIRST_LIMIT_MS : LIMIT_MS;
    isDue = false;
    try {
      const version = await ollamaVersion(host, AbortSignal.timeout(limitMs));
      found(version, await findModel(host, configured, AbortSignal.timeout(LIMIT_MS)));
    } catch (error) {
      if (error instanceof ProviderError) away(error);
      // A busy Ollama may respond late.
      else if (state.status === 'unknown') away(tooSlow());
    } finally {
      inspectedAt = performance.now();
      inspection = undefined;
    }
  }

  function found(version: string, model: OllamaModel | undefined): void {
    const refusal = refusalOf(model);
    known = refusal === undefined ? model : undefined;
    state = refusal === undefined ? { status: 'found' } : { status: 'refused', error: refusal };
    const seen = JSON.stringify([version, model]);
    if (seen === lastSeen) return;
    lastSeen = seen;
    logger?.info({
      event: 'OLLAMA_FOUND',
      host: new URL(toAddress(host).url).host,
      version,
      model: model?.name,
      capabilities: model?.capabilities,
      contextLength: model?.contextLength,
    });
    if (known !== undefined) onFound(known);
    if (refusal === undefined) return;
    const event = 'LLM_PROVIDER_MISCONFIGURED';
    logger?.error({ event, provider: 'ollama', model: configured, err: refusal });
  }

  function refusalOf(model: OllamaModel | undefined): ProviderError | undefined {
    if (model === undefined)
      return configured === undefined ? noModel(DEFAULT_MODEL) : missingModel(configured);
    return canChat(model) ? undefined : cannotChat(model.name);
  }

  function away(error: ProviderError): void {
    const isNews = state.status !== 'away';
    const level = isOptional && state.status === 'unknown' ? 'info' : 'warn';
    state = { status: 'away', error };
    if (!isNews) return;
    // Ollama is logged again when it is available again.
    lastSeen = '';
    const { host: name } = new URL(toAddress(host).url);
    logger?.[level]({ event: 'OLLAMA_NOT_FOUND', host: name, err: error });
  }

  function isFresh(): boolean {
    if (inspectedAt === undefined || isDue) return false;
    const freshMs = state.status === 'found' ? FRESH_MS : PROBLEM_FRESH_MS;
    return performance.now() - inspectedAt < freshMs;
  }

  return {
    get model() {
      return configured ?? known?.name ?? DEFAULT_MODEL;
    },
    get problem() {
      return 'error' in state ? state.error : undefined;
    },
    get refusal() {
      return state.status === 'refused' ? state.error : undefined;
    },
    prepare() {
      if (inspection === undefined && isFresh()) return undefined;
      const isNameKnown = configured !== undefined || known !== undefined;
      const mustWait = inspectedAt === undefined || state.status === 'refused' || !isNameKnown;
      inspection ??= inspect();
      return mustWait ? inspection : undefined;
    },
    noteAnswer() {
      if (state.status !== 'away') return;
      state = { status: 'unknown' };
      inspection ??= inspect();
    },
    noteFailure(error) {
      if (error.failure === 'misconfigured') isDue = true;
      if (error.failure === 'unavailable' && error.status === undefined) away(error);
      if (isDue) inspection ??= inspect();
    },
  };
}

function tooSlow(): ProviderError {
  const detail = `ollama did not answer in time. ${OLLAMA_ADVICE}`;
  return providerError('unavailable', detail, { advice: OLLAMA_ADVICE });
}
