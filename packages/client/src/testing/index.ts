export { record } from './record.js';
export type { Script, Step } from './script.js';
export { createTestClient } from './test-client.js';
