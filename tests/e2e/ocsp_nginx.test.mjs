// A relying party that others wrote: nginx asks the hub about every client, and agrees with it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile, spawn } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, as, csrBody, enrolledDevice, keepCertificate, newKey, openssl, renew, until } from './lib/hub.mjs';

const run = promisify(execFile);

const freePort = () => new Promise((resolve, reject) => {
  const server = createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

class Nginx {
  static async start(hub, authorities) {
    const nginx = new Nginx();
    nginx.folder = join(hub.folder, 'nginx');
    await mkdir(nginx.folder, { recursive: true });
    await chmod(hub.folder, 0o755);
    await chmod(nginx.folder, 0o755);
    nginx.port = await freePort();
    nginx.key = await newKey(join(nginx.folder, 'key.pem'));
    nginx.certificate = join(nginx.folder, 'certificate.pem');
    await openssl(['req', '-x509', '-new', '-key', nginx.key, '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '1', '-out', nginx.certificate]);
    await writeFile(join(nginx.folder, 'index.html'), 'let in\n');
    const config = join(nginx.folder, 'nginx.conf');
    // Of the chain, the device's certificate is the hub's to speak of; the issuing one is the root's.
    await writeFile(config, `
      daemon off; worker_processes 1; pid ${nginx.folder}/pid; error_log ${nginx.folder}/error.log info;
      events { worker_connections 64; }
      http {
        access_log off; client_body_temp_path ${nginx.folder}/body; proxy_temp_path ${nginx.folder}/proxy;
        fastcgi_temp_path ${nginx.folder}/fastcgi; uwsgi_temp_path ${nginx.folder}/uwsgi; scgi_temp_path ${nginx.folder}/scgi;
        server {
          listen 127.0.0.1:${nginx.port} ssl; root ${nginx.folder};
          ssl_certificate ${nginx.certificate}; ssl_certificate_key ${nginx.key};
          ssl_session_cache off; ssl_session_tickets off;
          ssl_client_certificate ${authorities}; ssl_verify_client on; ssl_verify_depth 3;
          ssl_ocsp leaf; ssl_ocsp_cache off;
        }
      }`);
    nginx.process = spawn('/usr/sbin/nginx', ['-c', config, '-e', join(nginx.folder, 'start.log')], { stdio: 'ignore' });
    nginx.ended = new Promise((done) => nginx.process.once('exit', done));
    try {
      await until('nginx listens', async () => (await nginx.ask([])) !== undefined);
    } catch (error) {
      await nginx.stop();
      throw new Error(`${error}\n${await readFile(join(nginx.folder, 'start.log'), 'utf8')}`);
    }
    return nginx;
  }

  // The status of an answer; undefined where there is none.
  async ask(words) {
    const all = ['-sS', '-o', join(this.folder, 'answer'), '-w', '%{http_code}', '--max-time', '20', '--cacert', this.certificate, '--resolve', `localhost:${this.port}:127.0.0.1`];
    const { stdout } = await run('curl', [...all, ...words, `https://localhost:${this.port}/`]).catch(() => ({ stdout: '000' }));
    return stdout === '000' ? undefined : Number(stdout);
  }

  as(device) {
    return this.ask(['--cert', device.certificate, '--key', device.key]);
  }

  log() {
    return readFile(join(this.folder, 'error.log'), 'utf8');
  }

  async stop() {
    if (this.process.exitCode === null) this.process.kill('SIGTERM');
    await this.ended;
  }
}

describe('nginx that asks the hub about its clients', { timeout: 120000 }, () => {
  let hub;
  let nginx;
  before(async () => {
    const port = await freePort();
    hub = await Hub.start({ 'listen-status': `127.0.0.1:${port}`, 'public-url': `http://127.0.0.1:${port}`, 'status-per-minute': '100000' });
    await hub.factory();
    const authorities = join(hub.folder, 'authorities.pem');
    await writeFile(authorities, (await readFile(join(hub.state, 'signer/issuing.pem'), 'utf8')) + (await readFile(hub.roots, 'utf8')));
    nginx = await Nginx.start(hub, authorities);
  });
  after(async () => {
    await nginx?.stop();
    await hub?.stop();
  });

  const move = (verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });
  const atHub = async (device) => (await as(hub, device, '/v1/ledger/checkpoint')).status;
  const agree = async (device, status) => {
    assert.equal(await nginx.as(device), status);
    assert.equal(await atHub(device), status === 200 ? 200 : 403);
  };

  it('lets in whom the hub trusts, and refuses who was cut off, at once', async () => {
    assert.equal(await nginx.ask([]), 400, 'nobody comes in without a certificate');
    const device = await enrolledDevice(hub, 'visitor');
    await until('there is a checkpoint', async () => (await atHub(device)) === 200);
    await agree(device, 200);
    await move('quarantine', 'visitor');
    await agree(device, 400);
    await move('release', 'visitor');
    await agree(device, 200);
    const other = await enrolledDevice(hub, 'neighbour');
    await move('revoke', 'visitor');
    await agree(device, 400);
    await agree(other, 200);
    assert.match(await nginx.log(), /verify error: certificate revoked/);
    await move('retire', 'neighbour');
    await agree(other, 400);
  });

  it('refuses a certificate that was replaced, and takes the new one', async () => {
    const device = await enrolledDevice(hub, 'renewed');
    const key = await newKey(join(hub.folder, 'renewed2.key'));
    const answer = await renew(hub, device, await csrBody(key, '/CN=renewed'));
    assert.equal(answer.status, 200);
    const fresh = { key, certificate: await keepCertificate(answer, join(hub.folder, 'renewed2.crt')) };
    await agree(fresh, 200);
    await until('the one before is retired', async () => (await atHub(device)) === 403);
    await agree(device, 400);
    await agree(fresh, 200);
  });

  it('lets nobody in while the hub is away, and everybody when it is back', async () => {
    const device = await enrolledDevice(hub, 'patient');
    await agree(device, 200);
    await hub.end('SIGKILL');
    assert.equal(await nginx.as(device), 400);
    await hub.launch();
    await agree(device, 200);
  });

  it('lets nobody in whom the hub never issued a certificate, whoever signed it', async () => {
    const key = await newKey(join(hub.folder, 'forged.key'));
    const certificate = join(hub.folder, 'forged.crt');
    const request = await openssl(['req', '-new', '-key', key, '-subj', '/CN=forged']);
    const extensions = join(hub.folder, 'forged.ext');
    await writeFile(extensions, `extendedKeyUsage=clientAuth\nauthorityInfoAccess=OCSP;URI:${hub.config['public-url']}/ocsp\n`);
    const signer = join(hub.state, 'signer');
    await writeFile(certificate, await openssl(['x509', '-req', '-CA', `${signer}/issuing.pem`, '-CAkey', `${signer}/issuing.key`, '-set_serial', '0x6a00000000000000000000000000abcd',
                                                '-days', '1', '-extfile', extensions], request));
    assert.equal(await nginx.as({ key, certificate }), 400);
    assert.equal((await hub.metrics()).get('holdfast_ocsp_responses_total{status="unknown"}'), 1, 'it was asked');
  });
});
