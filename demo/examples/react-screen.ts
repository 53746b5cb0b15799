import { type ComponentType, createElement, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { showScreen } from './screen.js';

/** Shows a component of React as a screen. */
export function showComponent(component: ComponentType): void {
  showScreen((target) => {
    const root = createRoot(target);
    root.render(createElement(StrictMode, null, createElement(component)));
    return () => root.unmount();
  });
}
