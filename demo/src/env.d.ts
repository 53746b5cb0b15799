interface ImportMetaEnv {
  /** True in a build with "Try to break it"; the code behind it is in no other. */
  readonly HAS_LAB: boolean;
}
