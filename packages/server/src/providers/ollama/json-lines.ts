const NEWLINE = 0x0a;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

/**
 * The same response without the lines that are not JSON, such as a last one that was cut. The Ollama
 * client skips them, too, but writes them to the console first, and they are the answer's text. The
 * client stops reading at the last line, a pipe goes on to the end: `onEnd` is called there.
 */
export function onlyJsonLines(response: Response, onEnd: () => void): Response {
  const reader = response.body?.getReader();
  if (reader === undefined) return response;
  let rest = Buffer.alloc(0);

  // Pulled by hand: a TransformStream would cost more for each chunk than all else that is done to it.
  const body = new ReadableStream<Uint8Array>({
    async pull(to) {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const data = rest.length === 0 ? Buffer.from(value) : Buffer.concat([rest, value]);
        const end = data.lastIndexOf(NEWLINE) + 1;
        rest = data.subarray(end);
        const lines = withoutJunk(data.subarray(0, end));
        if (lines.length > 0) return to.enqueue(lines);
      }
      if (isJson(rest.toString())) to.enqueue(rest);
      to.close();
      onEnd();
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(body, response);
}

/** Lines are parsed only where one does not look like an object: the client parses them all again. */
function withoutJunk(lines: Buffer): Buffer {
  if (looksLikeObjects(lines)) return lines;
  const json = lines.toString().split('\n').filter(isJson);
  return Buffer.from(json.map((line) => `${line}\n`).join(''));
}

function looksLikeObjects(lines: Buffer): boolean {
  for (let start = 0; start < lines.length;) {
    const end = lines.indexOf(NEWLINE, start);
    if (lines[start] !== OPENING_BRACE || lines[end - 1] !== CLOSING_BRACE) return false;
    start = end + 1;
  }
  return true;
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}
