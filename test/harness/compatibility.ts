const BEGINNING = `# Compatibility of the bridges

Each cell is a test that ran in Chromium, with the packages that the row names, against a Rivulet server. \`npm run docs:compatibility\` runs the tests and writes this file; \`npm test\` fails where it differs from what they gave. [bridges.md](bridges.md) describes the bridges.

| column | what the test does |
|---|---|
| text | reads two answers piece by piece; the second question has the first answer as context |
| reasoning | reads the model's thoughts apart from the text |
| tools | shows two calls, with the result of one and the error of the other |
| stop | presses Stop; the model's call is aborted, and the text stays |
| reload | reloads in mid-answer, reads on from the same call of the model, and stops it |
| second tab | opens a second tab in mid-answer, reads along, and stops it for both |
| stop right after a reload | reloads in mid-answer and stops before anything else comes; the model's call is aborted |
| error | shows the failure of a model beside the text so far |
| restart | a model fails in mid-answer and another one begins again: text and thoughts are those of the second attempt alone, also after a reload, and so is the context of the next question |
| client tools | the code of the UI answers a call of the model, and the same answer goes on; in two answers of one chat |
| approval | a user approves a call after a reload, and refuses another; the same answer goes on |
| stop while a call waits | presses Stop while a call waits for approval, after a reload; the server ends the answer, and the next question is answered |
| restart during a reload | the same as restart, while the page is away |

`;

/** The results of the bridge tests, as a table with a row for each bridge and its packages. */
export function createMatrix() {
  const rows = new Map<string, Map<string, boolean>>();
  return {
    record(row: string, feature: string, passed: boolean): void {
      rows.set(row, (rows.get(row) ?? new Map<string, boolean>()).set(feature, passed));
    },
    document(): string {
      const features = [...new Set([...rows.values()].flatMap((cells) => [...cells.keys()]))];
      const lines = [
        `| bridge | packages | ${features.join(' | ')} |`,
        `|---|---|${'---|'.repeat(features.length)}`,
        ...[...rows].map(([row, cells]) => {
          const marks = features.map((feature) => (cells.get(feature) ? 'yes' : 'no'));
          return `| ${row} | ${marks.join(' | ')} |`;
        }),
      ];
      return `${BEGINNING}${lines.join('\n')}\n`;
    },
  };
}
