export { createChat } from './chat.js';
export { createChatStore } from './chat-registry.js';
export {
  type ChatStore,
  type ChatStoreOptions,
  createMemoryChatStore,
  type StoredChat,
} from './chat-store.js';
export { listChats, removeChat, renameChat } from './list-chats.js';
export { type ChatRecord, mergeChat, mergeMessage, type MessageRecord } from './records.js';
export type * from './types.js';
