import { ConfigError } from '../../settings/resolve-settings.js';
import { LinkError } from './link.js';

/** Codes of Node.js. Another text could contain the URL. */
const CODE = /^[A-Z][A-Z0-9_]{1,60}$/;

/**
 * @returns why Redis cannot be used: the code of Node.js, such as `ECONNREFUSED`, the first word of an error that
 * Redis replied, such as `LOADING`, or a sentence about a Redis that is silent.
 */
export function detailOf(fault: unknown): string | undefined {
  let detail: string | undefined;
  for (let cause = fault; cause instanceof Error; cause = cause.cause) {
    const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
    if (CODE.test(code)) detail = code;
    else if (cause instanceof LinkError) detail = cause.message;
    else detail = replyWord(cause) ?? detail;
  }
  return detail;
}

/** The advice for an operator whose Redis answers commands with an error. */
export const REPLY_ADVICE = 'Check that it is Redis 7 or later with all its commands, and its log';

/**
 * @returns the first word of an error that Redis replied, such as `ERR`; undefined for other errors. The words
 * after it may contain data.
 */
export function replyWord(cause: unknown): string | undefined {
  if (!(cause instanceof Error) || cause instanceof LinkError) return undefined;
  return /^([A-Z][A-Z\d]{1,30})(?: |$)/.exec(cause.message)?.[1];
}

/**
 * @returns what to do about a fault that only an operator can end; undefined for other faults. It has neither
 * the URL nor the password.
 */
export function explainFault(fault: unknown): string | undefined {
  for (let cause = fault; cause instanceof Error; cause = cause.cause) {
    const { message } = cause;
    if (cause instanceof ConfigError) return message;
    const code = 'code' in cause ? String(cause.code) : '';
    if (/^(WRONGPASS|NOAUTH|ERR AUTH)/.test(message))
      return 'Redis refuses the user or the password of REDIS_URL; check both (`redis-cli --user NAME ACL WHOAMI`)';
    if (message.startsWith('NOPERM'))
      return 'the user of REDIS_URL may not do what is needed; allow it all commands but @dangerous, INFO, and the keys and channels with REDIS_KEY_PREFIX (`ACL SETUSER`)';
    if (message.startsWith('MISCONF'))
      return 'Redis cannot write to its disk, and takes no writes; make room on the disk, and see the log of Redis';
    if (message.startsWith('NOREPLICAS'))
      return 'Redis takes no writes without its replicas; start them, or lower min-replicas-to-write';
    if (message.startsWith('BUSY'))
      return 'a script of another application blocks Redis; end it (`redis-cli SCRIPT KILL`)';
    if (/^(SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|CERT_UNTRUSTED)/.test(code))
      return 'the certificate of Redis is signed by an authority that is not known here; give that of the authority as REDIS_CA_FILE';
    if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
      return 'the certificate of Redis is not valid now; renew it, or check the clocks';
    if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
      return 'the certificate of Redis is for another host; use the host of the certificate in REDIS_URL';
  }
  return undefined;
}
