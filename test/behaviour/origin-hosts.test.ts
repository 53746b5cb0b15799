import { request } from 'node:http';
import { resolveSettings } from '@rivulet/server';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createHostCheck } from '../../demo/hosts.js';
import { npmStart } from '../harness/demo.js';

/** Opens `url` under another host name, as a browser does whose DNS names this machine so. */
function openAs(host: string, url: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    request(url, { headers: { host, accept: 'text/html' } }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    })
      .on('error', reject)
      .end();
  });
}

async function demoWith(allowedOrigins: string): Promise<string> {
  const { url, stop } = await npmStart({ LLM_MODE: 'docs', ALLOWED_ORIGINS: allowedOrigins });
  onTestFinished(async () => void (await stop()));
  return url;
}

describe('the page that `npm start` serves', () => {
  it('opens under the host names of ALLOWED_ORIGINS, and says how to allow another', async () => {
    const url = await demoWith('https://demo.example:8443,https://*.chat.example');
    for (const host of ['demo.example', 'demo.example:8443', 'a.chat.example', 'localhost:1']) {
      const { status, body } = await openAs(host, url);
      expect([host, status]).toEqual([host, 200]);
      expect(body).toContain('<title>');
    }
    for (const host of ['evil.example', 'chat.example', 'demo.example.evil.example']) {
      const { status, body } = await openAs(host, url);
      expect([host, status]).toEqual([host, 403]);
      expect(body).toContain(`"${host}"`);
      expect(body).toContain('ALLOWED_ORIGINS');
    }
  });

  it('opens under any host name with ALLOWED_ORIGINS=*', async () => {
    const { status } = await openAs('any.example', await demoWith('*'));
    expect(status).toBe(200);
  });
});

describe('the hosts of the demo page', () => {
  const allows = (setting: string, host: string): boolean => {
    const { allowedOrigins } = resolveSettings({ env: { ALLOWED_ORIGINS: setting } });
    return createHostCheck(allowedOrigins).isAllowed(host);
  };

  it.each([
    'localhost',
    'localhost:3000',
    'a.localhost',
    '127.0.0.1:3000',
    '[::1]:3000',
    '10.0.0.7',
  ])('include %s, whatever is allowed', (host) => {
    expect(allows('', host)).toBe(true);
    expect(allows('https://demo.example', host)).toBe(true);
  });

  it.each([
    ['', 'demo.example'],
    ['https://demo.example', 'a.demo.example'],
    ['https://demo.example', 'demo.example.evil.test'],
    ['https://*.demo.example', 'demo.example'],
    ['https://*.demo.example', '.demo.example'],
    ['https://*.demo.example', 'a-demo.example'],
    ['null,file://,app://demo.example,tauri://localhost', 'demo.example'],
  ])('with ALLOWED_ORIGINS=%s do not include %s', (setting, host) => {
    expect(allows(setting, host)).toBe(false);
  });

  it('never give Vite more than a wildcard’s own domain', () => {
    const { allowedOrigins } = resolveSettings({
      env: { ALLOWED_ORIGINS: 'https://demo.example:8443,https://*.chat.example,null,app://other' },
    });
    expect(createHostCheck(allowedOrigins).forVite).toEqual([
      'localhost',
      'demo.example',
      '.localhost',
      '.chat.example',
    ]);
  });
});
