import * as rivulet from '@rivulet/client';
import * as chats from '@rivulet/client/chat';
import { chatStoreTests } from '@rivulet/client/testing';
import { createMemory } from '../../packages/client/src/cache/memory.js';

// What a page of `sdkPage()` has as globals.
Object.assign(globalThis, { rivulet, chats, chatStoreTests, createMemory });
