// A relying party that others wrote: nginx as it stands in front of somebody's service, and looks at its clients'
// certificates.
import { execFile, spawn } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { newKey, openssl, until } from './hub.mjs';

const run = promisify(execFile);

export const freePort = () => new Promise((resolve, reject) => {
  const server = createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

export class Nginx {
  // `checks`: the lines of its configuration by which it tells who has been cut off.
  static async start(hub, checks) {
    const nginx = new Nginx();
    nginx.folder = join(hub.folder, 'nginx');
    const authorities = join(hub.folder, 'authorities.pem');
    await writeFile(authorities, (await readFile(join(hub.state, 'signer/issuing.pem'), 'utf8')) + (await readFile(hub.roots, 'utf8')));
    await mkdir(nginx.folder, { recursive: true });
    await chmod(hub.folder, 0o755);
    await chmod(nginx.folder, 0o755);
    nginx.port = await freePort();
    nginx.key = await newKey(join(nginx.folder, 'key.pem'));
    nginx.certificate = join(nginx.folder, 'certificate.pem');
    await openssl(['req', '-x509', '-new', '-key', nginx.key, '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '1', '-out', nginx.certificate]);
    await writeFile(join(nginx.folder, 'index.html'), 'let in\n');
    const config = join(nginx.folder, 'nginx.conf');
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
          ${checks}
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

  // Has it read its files again, and waits until nobody is met by the worker from before.
  async reload() {
    const exits = async () => (await this.log()).split(/worker process \d+ exited/).length;
    const before = await exits();
    this.process.kill('SIGHUP');
    await until('the worker from before has gone', async () => (await exits()) > before);
  }

  async stop() {
    if (this.process.exitCode === null) this.process.kill('SIGTERM');
    await this.ended;
  }
}
