export { record } from './record.js';
export type { Script, Step } from './script.js';
export { createMockClient } from './mock-client.js';
export { chatStoreTests, type ChatStoreTest } from './chat-store-tests.js';
