import { createClient } from '@rivulet/client';

export const client = createClient({ url: 'https://answers.example' });
