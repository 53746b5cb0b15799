/** @returns the bytes of well-formed `text` in UTF-8. React Native may lack `TextEncoder`. */
export function byteLength(text: string): number {
  return text.replace(/[\u0080-\u07ff\ud800-\udfff]/g, '12').replace(/[\u0800-\uffff]/g, '123')
    .length;
}
