import * as z from 'zod';
import { defineTool, type Tool, ToolError } from './tool.js';

/**
 * A tool that returns the date and time in a time zone. `now` returns the current time; the system clock
 * unless given.
 */
export function currentTime({
  now = () => new Date(),
}: { now?: (() => Date) | undefined } = {}): Tool {
  return defineTool({
    name: 'current_time',
    description: 'Tells the date, the weekday and the time of day that it is now, in a time zone.',
    parameters: z.object({
      time_zone: z
        .string()
        .describe('The IANA name of the time zone, such as Europe/Berlin or UTC'),
    }),
    execute: ({ time_zone }) => ({ time_zone, now: inZone(time_zone, now()) }),
  });
}

/** @returns a text such as "Sunday, 22 November 2026 at 09:21:51 GMT+01:00". */
function inZone(timeZone: string, moment: Date): string {
  try {
    return new Intl.DateTimeFormat('en-GB', {
      timeZone,
      weekday: 'long',
      day: 'numeric',
      month: 'long',
      year: 'numeric',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      timeZoneName: 'longOffset',
    }).format(moment);
  } catch {
    throw new ToolError(
      `there is no time zone ${JSON.stringify(timeZone)}; give its IANA name, such as Europe/Berlin`,
    );
  }
}
