import * as rivulet from '@rivulet/client';

// What a page of `sdkPage()` has as globals.
Object.assign(globalThis, { rivulet });
