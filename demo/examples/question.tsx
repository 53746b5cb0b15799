import { type ReactElement, useState } from 'react';

interface QuestionProps {
  ask: (text: string) => void;
  stop: () => void;
}

export function Question({ ask, stop }: QuestionProps): ReactElement {
  const [text, setText] = useState('');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        ask(text);
        setText('');
      }}
    >
      <input aria-label="Question" value={text} onChange={(event) => setText(event.target.value)} />
      <button>Ask</button>
      <button type="button" onClick={stop}>
        Stop
      </button>
    </form>
  );
}
