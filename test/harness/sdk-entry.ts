import * as rivulet from '@rivulet/client';
import * as chats from '@rivulet/client/chat';
import { chatStoreTests } from '@rivulet/client/testing';
import { createMemory } from '../../packages/client/src/cache/memory.js';

// The globals of a page of `sdkPage()`.
Object.assign(globalThis, { rivulet, chats, chatStoreTests, createMemory });
