/** A fresh app in the folder of its name, which runs `npm install` and then what is named here. */
export interface App {
  /** The folder of its sources in `test/apps`. */
  name: string;
  /** The major version of Node.js that builds and serves it: our lowest, unless the framework needs a newer one. */
  node: '20' | '24';
  /** The package whose version the report shows beside the name. */
  framework: string;
  /** The npm script that ends with an error if the app does not work. */
  script: 'build' | 'test';
  /** The folder of a finished page, or the npm script that serves it at the port `PORT`. Absent without a page. */
  serve?: { folder: string } | { script: string; rendersOnServer: true };
  /** The import of a page beside `createClient`, for the size in the report. */
  binding?: { name: string; from: string };
  /** The files that the documentation shows. */
  shown: string[];
}

const SERVED = { script: 'start', rendersOnServer: true } as const;

export const APPS: App[] = [
  {
    name: 'vite-react',
    node: '20',
    framework: 'vite',
    script: 'build',
    serve: { folder: 'dist' },
    binding: { name: 'useAnswer', from: '@rivulet/client/react' },
    shown: ['src/rivulet.ts', 'src/answer.tsx'],
  },
  {
    name: 'nextjs',
    node: '20',
    framework: 'next',
    script: 'build',
    serve: SERVED,
    binding: { name: 'useAnswer', from: '@rivulet/client/react' },
    shown: ['app/rivulet.ts', 'app/answer.tsx', 'app/page.tsx'],
  },
  {
    name: 'nuxt',
    node: '24',
    framework: 'nuxt',
    script: 'build',
    serve: SERVED,
    binding: { name: 'useAnswer', from: '@rivulet/client/vue' },
    shown: ['app/rivulet.ts', 'app/app.vue'],
  },
  {
    name: 'sveltekit',
    node: '24',
    framework: '@sveltejs/kit',
    script: 'build',
    serve: SERVED,
    binding: { name: 'createAnswer', from: '@rivulet/client/svelte' },
    shown: ['src/routes/rivulet.ts', 'src/routes/+page.svelte'],
  },
  {
    name: 'angular',
    node: '24',
    framework: '@angular/core',
    script: 'build',
    serve: SERVED,
    binding: { name: 'injectAnswer', from: '@rivulet/client/angular' },
    shown: ['src/app/rivulet.ts', 'src/app/answer.ts'],
  },
  {
    name: 'solidstart',
    node: '24',
    framework: '@solidjs/start',
    script: 'build',
    serve: SERVED,
    binding: { name: 'createAnswer', from: '@rivulet/client/solid' },
    shown: ['src/rivulet.ts', 'src/answer.tsx'],
  },
  { name: 'jest', node: '20', framework: 'jest', script: 'test', shown: ['answer.test.mjs'] },
  {
    name: 'commonjs',
    node: '20',
    framework: '@rivulet/client',
    script: 'test',
    shown: [],
  },
  { name: 'typescript', node: '20', framework: 'typescript-5.7', script: 'test', shown: [] },
];
