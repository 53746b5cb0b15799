// oxlint-disable-next-line import/no-unassigned-import -- Vite loads the stylesheet and its fonts.
import 'katex/dist/katex.min.css';
import katex from 'katex';

/** A formula as elements; undefined if it is no TeX that KaTeX understands. */
export function drawFormula(tex: string, isDisplay: boolean): Element | undefined {
  const element = document.createElement('span');
  try {
    katex.render(tex, element, {
      displayMode: isDisplay,
      throwOnError: true,
      strict: 'ignore',
      trust: false,
      maxSize: 20,
      maxExpand: 200,
    });
    return element;
  } catch {
    return undefined;
  }
}
