import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * The scripts, and their flags. Redis refuses a script before its first write when its memory is used up,
 * unless it has `allow-oom`: those that free memory, or take almost none, may run then.
 */
const FLAGS = {
  open: '',
  append: '',
  adopt: '',
  request: '',
  share: '',
  reply: '',
  replies: 'no-writes',
  peek: 'no-writes',
  heads: 'no-writes',
  ends: 'no-writes',
  list: 'no-writes',
  cached: 'no-writes',
  keep: '',
  uncache: 'allow-oom',
  slots: 'allow-oom',
  versions: 'allow-oom',
  follow: 'allow-oom',
  unfollow: 'allow-oom',
  news: 'allow-oom',
  pause: 'allow-oom',
  cancel: 'allow-oom',
  forget: 'allow-oom',
  readers: 'allow-oom',
  reap: 'allow-oom',
  spend: 'allow-oom',
  unspend: 'allow-oom',
  beat: 'allow-oom',
  leave: 'allow-oom',
  claim: 'allow-oom',
  renew: 'allow-oom',
} as const;

export type ScriptName = keyof typeof FLAGS;

export interface Script {
  readonly source: string;
  /** By which Redis knows a script that it was given before. */
  readonly sha1: string;
}

/** @returns the scripts, read from their files. */
export function loadScripts(): Record<ScriptName, Script> {
  const common = readScript('common');
  const names = Object.keys(FLAGS) as ScriptName[];
  const scripts = names.map((name) => {
    const flags = FLAGS[name] === '' ? '' : ` flags=${FLAGS[name]}`;
    const source = `#!lua${flags}\n${common}\n${readScript(name)}`;
    return [name, { source, sha1: createHash('sha1').update(source).digest('hex') }] as const;
  });
  return Object.fromEntries(scripts) as Record<ScriptName, Script>;
}

function readScript(name: string): string {
  return readFileSync(new URL(`../scripts/${name}.lua`, import.meta.url), 'utf8');
}
