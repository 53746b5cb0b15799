import { ProviderError } from '@rivulet/server';
import { CHECKS } from './checks.js';
import { liveGemini, liveOllama, liveOpenAi, type LiveServer } from './servers.js';

/**
 * Tries the contract of a provider against the servers that the environment names. Prints what was tried,
 * and what was left out and why. Exits with 1 if a check failed, or if there was nothing to try.
 */

let tried = 0;
let failed = 0;

function print(outcome: 'passed' | 'FAILED' | 'left out', what: string, why = ''): void {
  if (outcome === 'passed') tried++;
  if (outcome === 'FAILED') failed++;
  console.log(`${outcome.padEnd(8)}  ${what}${why && `: ${why}`}`);
}

function reasonOf(error: unknown): string {
  if (error instanceof ProviderError) return error.detail ?? error.message;
  return error instanceof Error ? error.message : String(error);
}

async function tryServer(server: LiveServer): Promise<void> {
  console.log(`\n${server.name}`);
  for (const [what, check] of Object.entries(CHECKS)) {
    try {
      const leftOut = await check(server);
      if (leftOut === undefined) print('passed', what);
      else print('left out', what, leftOut);
    } catch (error) {
      print('FAILED', what, reasonOf(error));
    }
  }
}

const { OLLAMA_HOST, OLLAMA_MODEL, GEMINI_API_KEY, OPENAI_API_KEY, OPENAI_BASE_URL } = process.env;
if (OLLAMA_HOST || OLLAMA_MODEL) {
  try {
    await tryServer(await liveOllama());
  } catch (error) {
    print('FAILED', 'Ollama', reasonOf(error));
  }
} else print('left out', 'Ollama', 'OLLAMA_HOST and OLLAMA_MODEL are not set');
if (GEMINI_API_KEY) await tryServer(liveGemini(GEMINI_API_KEY));
else print('left out', 'Gemini', 'GEMINI_API_KEY is not set');
if (OPENAI_API_KEY || OPENAI_BASE_URL) await tryServer(await liveOpenAi());
else print('left out', 'OpenAI', 'OPENAI_API_KEY and OPENAI_BASE_URL are not set');

console.log(`\n${tried} passed, ${failed} failed`);
process.exit(failed === 0 && tried > 0 ? 0 : 1);
