/**
 * The same response without the lines that are not JSON, such as a last one that was cut. The Ollama
 * client skips them, too, but writes them to the console first, and they are the answer's text. The
 * client stops reading at the last line, a pipe goes on to the end: `onEnd` is called there.
 */
export function onlyJsonLines(response: Response, onEnd: () => void): Response {
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  let rest = '';

  function pass(text: string, to: TransformStreamDefaultController<Uint8Array>): void {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    const whole = lines.filter(isJson).map((line) => `${line}\n`);
    if (whole.length > 0) to.enqueue(encoder.encode(whole.join('')));
  }

  const body = response.body?.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, to) => pass(decoder.decode(bytes, { stream: true }), to),
      flush(to) {
        pass(`${decoder.decode()}\n`, to);
        onEnd();
      },
    }),
  );
  return new Response(body ?? null, response);
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}
