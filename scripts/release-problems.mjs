/**
 * @returns `refusals`, reasons not to go on, and `missing`, what a dry run reports and a release refuses. `changedFiles`
 *   is the output of `git status --porcelain`; `isOnMain` is true if the commit is on `main` of the remote.
 */
export function listProblems({ isDryRun, env, changedFiles, isOnMain, manifests, changelog }) {
  const refusals = [];
  if (!isDryRun && env.CI === undefined) {
    refusals.push(
      'provenance needs CI; `npm run release -- --dry-run` shows what CI would publish',
    );
  }
  if (changedFiles.trim() !== '') {
    refusals.push(`the working tree is not clean:\n${changedFiles.trimEnd()}`);
  }
  const [{ version }] = manifests;
  for (const manifest of manifests) {
    if (manifest.version !== version) {
      refusals.push(
        `${manifest.name} is ${manifest.version}, but ${manifests[0].name} is ${version}`,
      );
    }
    const needed = manifest.dependencies?.['@rivulet/protocol'] ?? version;
    if (needed !== version) {
      refusals.push(`${manifest.name} depends on @rivulet/protocol ${needed}, which is ${version}`);
    }
  }

  if (!isDryRun) {
    // The variable of GitHub Actions for what has started the workflow.
    const ref = env.GITHUB_REF ?? 'no tag';
    if (ref !== `refs/tags/v${version}`) {
      refusals.push(`it was started by ${ref}; push the tag v${version}`);
    }
    if (!isOnMain) refusals.push('the commit is not on main; merge it, and move the tag');
  }

  const missing = [];
  if (!changelog.includes(`\n## [${version}]`)) {
    missing.push(`CHANGELOG.md has no section [${version}]`);
  }
  for (const { name, repository } of manifests) {
    // npm compares it with the repository that the provenance names.
    if (repository === undefined) missing.push(`package.json of ${name} names no repository`);
  }
  return isDryRun ? { refusals, missing } : { refusals: [...refusals, ...missing], missing: [] };
}
