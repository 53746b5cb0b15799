import { writeFile } from 'node:fs/promises';
import { Session } from 'node:inspector/promises';

const inspector = new Session();

/** Begins a CPU profile of this process. */
export async function startProfile(): Promise<void> {
  inspector.connect();
  await inspector.post('Profiler.enable');
  await inspector.post('Profiler.setSamplingInterval', { interval: 500 });
  await inspector.post('Profiler.start');
}

/** Ends the profile and writes it to `path`. */
export async function stopProfile(path: string): Promise<void> {
  const { profile } = await inspector.post('Profiler.stop');
  inspector.disconnect();
  await writeFile(path, JSON.stringify(profile));
}
