import { readFileSync } from 'node:fs';
import { type Caller, optionProblems } from './option-names.js';
import {
  type Options,
  type Setting,
  SETTINGS,
  type Settings,
  type SettingTable,
} from './settings.js';
import type { ValueType } from './value-types.js';

/** A setting is invalid. The message has a line for each: its name, its value, and the allowed values. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface SettingsOptions extends Options<Settings> {
  /** The environment variables. `process.env` unless given. */
  env?: Environment | undefined;
}

/**
 * Resolves the settings of `createServer`. Each has the value of its option, or else of its variable, or else
 * its default.
 *
 * @throws {ConfigError} a value is not allowed, or an option is unknown.
 */
export function resolveSettings(options: SettingsOptions = {}): Settings {
  const caller = { name: 'resolveSettings', otherOptions: ['env'] };
  return resolve(SETTINGS, options, options.env ?? process.env, caller);
}

/** Resolves the settings of one table. */
export function resolve<S>(
  table: SettingTable<S>,
  options: object,
  env: Environment,
  caller: Caller,
): S {
  const rows = Object.entries<Setting<unknown>>(table);
  const problems = optionProblems(options, rows, caller);
  const settings: Record<string, unknown> = {};
  for (const [path, setting] of rows) {
    const read = readOption(options, path, setting) ?? readVariable(env, setting);
    if (read !== undefined && 'problem' in read) problems.push(read.problem);
    else assign(settings, path, read === undefined ? defaultOf(setting) : read.value);
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return settings as S;
}

/** The value of a setting, or the reason why it is not allowed. */
type ReadResult = { value: unknown } | { problem: string };

function readOption(
  options: object,
  path: string,
  setting: Setting<unknown>,
): ReadResult | undefined {
  const [first, second] = path.split('.') as [string, string | undefined];
  const outer = (options as Record<string, unknown>)[first];
  const given =
    second === undefined ? outer : (outer as Record<string, unknown> | undefined)?.[second];
  if (given === undefined) return undefined;
  const { type } = setting;
  const value = type.check(given);
  if (value !== undefined) return { value };
  return { problem: problemOf(path, given, type.allowedOption ?? type.allowed, setting) };
}

function readVariable(env: Environment, setting: Setting<unknown>): ReadResult | undefined {
  const { env: name, fileEnv, type } = setting;
  const given = env[name];
  const isSet = given !== undefined && (given !== '' || type.acceptsEmpty === true);
  const file = fileEnv === undefined ? '' : (env[fileEnv] ?? '');
  if (fileEnv !== undefined && file !== '') {
    if (!isSet) return readFile(fileEnv, file, type);
    return { problem: `${name} and ${fileEnv} are both set; set only one of them` };
  }
  if (!isSet) return undefined;
  const value = type.check(type.parse(given));
  if (value !== undefined) return { value };
  return { problem: problemOf(name, given, type.allowed, setting) };
}

/** The errors never show the content of the file. */
function readFile(name: string, path: string, type: ValueType<unknown>): ReadResult {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    return {
      problem: `${name} is ${show(path)}, which cannot be read (${code}); name a file that this user may read`,
    };
  }
  const value = type.check(type.parse(text));
  if (value !== undefined) return { value };
  return { problem: `${name} is ${show(path)}; the file must have ${type.allowed}` };
}

function problemOf(
  name: string,
  given: unknown,
  allowed: string,
  setting: Setting<unknown>,
): string {
  return `${name} is ${setting.secret === true ? '(hidden)' : show(given)}; it must be ${allowed}`;
}

const MAX_SHOWN_UNITS = 100;

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(shorten(hideLogin(value)));
  if (Array.isArray(value)) return shorten(`[${value.map(show).join(', ')}]`);
  if (typeof value === 'function') return 'a function';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

function shorten(text: string): string {
  return text.length <= MAX_SHOWN_UNITS ? text : `${text.slice(0, MAX_SHOWN_UNITS)}…`;
}

/** A URL may contain a user name and password, or a key in its query. */
function hideLogin(text: string): string {
  return text.replace(/^(.*?\/\/)?.*@/s, '$1(hidden)@').replace(/\?.*$/s, '?(hidden)');
}

function defaultOf({ default: value }: Setting<unknown>): unknown {
  return typeof value === 'function' ? (value as () => unknown)() : value;
}

function assign(settings: Record<string, unknown>, path: string, value: unknown): void {
  const [first, second] = path.split('.') as [string, string | undefined];
  if (second === undefined) settings[first] = value;
  else ((settings[first] ??= {}) as Record<string, unknown>)[second] = value;
}
