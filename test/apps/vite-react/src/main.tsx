import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Answer } from './answer';

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <Answer />
  </StrictMode>,
);
