import { type Provider, ProviderError } from '@rivulet/server';

/** A model behind a URL that answers a POST with plain text, as it is generated. */
export function ownModel(url: string, model: string): Provider {
  return {
    name: 'own',
    model,
    async *stream({ system, messages }, signal) {
      const body = JSON.stringify({ model, system, messages });
      const response = await fetch(url, { method: 'POST', body, signal });
      if (!response.ok || response.body === null)
        throw new ProviderError('unavailable', 'unable to get an answer: the model is away');
      for await (const text of response.body.pipeThrough(new TextDecoderStream()))
        yield { type: 'text', text };
      yield { type: 'finish', reason: 'stop', usage: {} };
    },
  };
}
