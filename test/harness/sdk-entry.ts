import * as rivulet from '@rivulet/client';
import { createMemory } from '../../packages/client/src/cache/memory.js';

// What a page of `sdkPage()` has as globals.
Object.assign(globalThis, { rivulet, createMemory });
