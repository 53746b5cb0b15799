import { createClient } from '@rivulet/client';
import { createServer } from '@rivulet/server';

export const client = createClient({ url: 'http://127.0.0.1:3000' });
export const server = createServer();
