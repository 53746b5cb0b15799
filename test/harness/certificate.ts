import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface Certificate {
  /** A folder that is removed when the test ends. */
  folder: string;
  /** The path of the certificate, which is its own authority. */
  certificate: string;
  /** The path of its key. */
  key: string;
  /** The path of a file with both. */
  both: string;
}

/** @returns a certificate for 127.0.0.1 that signs itself. */
export function createCertificate(): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'rivulet-tls-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [certificate, key, both] = ['cert.pem', 'key.pem', 'both.pem'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const args =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1';
  execFileSync('openssl', [...args.split(' '), '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  writeFileSync(both, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'));
  return { folder, certificate, key, both };
}
