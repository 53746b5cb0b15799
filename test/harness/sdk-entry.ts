import * as rivulet from '@rivulet/client';
import * as chats from '@rivulet/client/chat';
import { chatStoreTests } from '@rivulet/client/testing';
import { createClientStorage } from '../../packages/client/src/cache/client-storage.js';

// The globals of a page of `sdkPage()`.
Object.assign(globalThis, { rivulet, chats, chatStoreTests, createClientStorage });
