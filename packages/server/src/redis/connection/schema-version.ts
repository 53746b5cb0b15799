/**
 * The version of the keys, messages and scripts. Raise it with each change that a process of the version before
 * would not understand. Processes of another version have other keys: neither reads or writes what the other has.
 */
export const SCHEMA_VERSION = 1;
