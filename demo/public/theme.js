// Applies the chosen colours before the page is drawn. `src/shell/theme.ts` keeps the choice.
try {
  const theme = localStorage.getItem('rivulet-demo:theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // The browser blocks storage.
}
