import * as rivulet from '@rivulet/client';
import * as chats from '@rivulet/client/chat';
import { chatStoreTests } from '@rivulet/client/testing';
import { createClientStorage } from '../../packages/client/src/cache/client-storage.js';

// What a page of `sdkPage()` has as globals.
Object.assign(globalThis, { rivulet, chats, chatStoreTests, createClientStorage });
