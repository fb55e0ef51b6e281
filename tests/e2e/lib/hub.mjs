// A hub of its own for each test: a fresh state folder, loopback, free ports, and clients that others
// wrote (curl, openssl) to talk to it. Everything ends and goes with stop().
import { spawn, execFile } from 'node:child_process';
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import http from 'node:http';

const run = promisify(execFile);
const build = process.env.HOLDFAST_BUILD ?? new URL('../../../build/release', import.meta.url).pathname;

export const programs = {
  hub: join(build, 'hub/holdfast-hub'),
  agent: join(build, 'device/holdfast-agent'),
  cli: join(build, 'cli/holdfast'),
  verify: join(build, 'verify/holdfast-verify'),
  powercut: join(build, 'tests/e2e/libpowercut.so'),
  clockshift: join(build, 'tests/e2e/libclockshift.so'),
  powercutSelftest: join(build, 'tests/e2e/powercut_selftest'),
};

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Waits until `check` gives something true; says what it waited for where it never does.
export async function until(what, check, ms = 15000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain until ${what}`);
    await sleep(20);
  }
}

// A test run that ends early leaves no hub behind.
const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export class Hub {
  constructor(folder) {
    this.folder = folder;
    this.state = join(folder, 'state');
    this.socket = join(folder, 'hub.sock');
    this.roots = join(this.state, 'root.pem');
    this.log = ''; // since the last start
    this.said = ''; // before that
  }

  // `config`: lines that replace or extend the standard configuration, by key. `options`: a `prefix`
  // of words before the program, more `env`, `cliEnv` for the command beside it, and `prepare(hub)`, run
  // once its folder is there.
  static async start(config = {}, options = {}) {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-e2e-'));
    const hub = new Hub(folder);
    hub.options = options;
    try {
      await hub.make(config);
      await hub.launch();
    } catch (error) {
      await hub.discard();
      throw error;
    }
    return hub;
  }

  async make(config) {
    await mkdir(this.state);
    await this.options.prepare?.(this);
    const init = ['ca', 'init', '--state', this.state, '--fleet', config.fleet ?? 'fleet.example'];
    if (config['signer-user']) init.push('--signer-user', config['signer-user']);
    await run(programs.cli, init);
    this.config = {
      fleet: 'fleet.example',
      state: 'state',
      socket: 'hub.sock',
      'listen-device': '127.0.0.1:0',
      'listen-bootstrap': '127.0.0.1:0',
      'listen-operator': '127.0.0.1:0',
      'ports-file': 'ports',
      'log-level': 'info',
      'enrolment-per-minute': '1000',
      'public-per-minute': '10000',
      'device-reads-per-minute': '10000',
      'device-writes-per-minute': '10000',
      ...config,
    };
  }

  async launch(...flags) {
    const lines = Object.entries(this.config).map(([key, value]) => `${key} = ${value}\n`);
    await writeFile(join(this.folder, 'hub.conf'), lines.join(''));
    const portsFile = join(this.folder, this.config['ports-file']);
    await rm(portsFile, { force: true });
    const prefix = this.options.prefix ?? [];
    const words = [...prefix, programs.hub, '--config', join(this.folder, 'hub.conf'), ...flags];
    this.process = spawn(words[0], words.slice(1), {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...this.options.env },
    });
    const child = this.process;
    running.add(child);
    delete this.exit;
    this.said += this.log;
    this.log = '';
    child.stderr.setEncoding('utf8').on('data', (data) => (this.log += data));
    this.ended = new Promise((done) => child.once('exit', (code, signal) => done({ code, signal })));
    this.ended.then((how) => {
      running.delete(child);
      if (this.process === child) this.exit = how;
    });
    this.closed = new Promise((done) => child.once('close', done));
    await until('the hub listens', async () => {
      if (this.exit) throw new Error(`the hub ended: ${JSON.stringify(this.exit)}\n${this.log}`);
      return this.log.includes('hub.started');
    }, 30000);
    const text = await readFile(portsFile, 'utf8');
    this.ports = Object.fromEntries(text.trim().split('\n').map((line) => line.split('=')));
  }

  async end(signal = 'SIGTERM') {
    if (!this.exit) this.process.kill(signal);
    return this.ended;
  }

  async restart(signal = 'SIGTERM') {
    const how = await this.end(signal);
    await this.launch();
    return how;
  }

  // Ends it, and fails where a sanitizer or the hub itself had something to say against it.
  async stop() {
    const crashed = this.exit;
    const how = crashed ?? (await this.end());
    await this.discard();
    if (crashed || how.code !== 0)
      throw new Error(`the hub ended badly: ${JSON.stringify(how)}\n${this.log.slice(-6000)}`);
  }

  // The same for a hub whose end was part of the test.
  async discard() {
    if (this.process && !this.exit) await this.end('SIGKILL');
    await this.closed;
    await rm(this.folder, { recursive: true, force: true });
    const all = this.said + this.log;
    const found = all.search(/ERROR: (Address|Leak)Sanitizer|runtime error:/);
    if (found >= 0) throw new Error(`a sanitizer found something:\n${all.slice(found, found + 6000)}`);
  }

  // The same hub, spoken to in that tenant; what a test keeps of its devices has a folder of its own.
  async in(tenant) {
    const view = Object.create(this, { tenant: { value: tenant }, folder: { value: join(this.folder, tenant) } });
    await mkdir(view.folder, { recursive: true });
    return view;
  }

  // The API over the local socket, as JSON.
  api(method, path, body, { raw = false, type = 'application/json' } = {}) {
    return new Promise((resolve, reject) => {
      const isText = body === undefined || typeof body === 'string' || Buffer.isBuffer(body);
      const text = isText ? body : JSON.stringify(body);
      const headers = text === undefined ? {} : { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) };
      if (this.tenant) headers['Holdfast-Tenant'] = this.tenant;
      const request = http.request({ socketPath: this.socket, method, path, headers, agent: false }, (response) => {
        const parts = [];
        response.on('data', (part) => parts.push(part));
        response.on('end', () => {
          const bytes = Buffer.concat(parts);
          const isJson = bytes.length > 0 && /json/.test(response.headers['content-type'] ?? '');
          resolve({ status: response.statusCode, headers: response.headers,
                    body: !raw && isJson ? JSON.parse(bytes) : bytes });
        });
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(text);
    });
  }

  async must(status, method, path, body) {
    const answer = await this.api(method, path, body);
    if (answer.status !== status)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async cli(...words) {
    try {
      const where = ['--socket', this.socket, ...(this.tenant ? ['--tenant', this.tenant] : [])];
      const { stdout, stderr } = await run(programs.cli, [...where, ...words], { env: { ...process.env, ...this.options.cliEnv } });
      return { code: 0, stdout, stderr };
    } catch (error) {
      if (typeof error.code !== 'number') throw error;
      return { code: error.code, stdout: error.stdout, stderr: error.stderr };
    }
  }

  // A model and a manifest, ready for devices.
  async factory({ proof = 'manifest', keys = ['P-256', 'P-384', 'Ed25519', 'RSA'], lifetime = 86400 } = {}) {
    await this.must(201, 'POST', '/v1/models', {
      id: 'thermo', maker: 'acme', proof, key_kinds: keys,
      lifetime_seconds: lifetime, enrolled_lifetime_seconds: 600,
    });
    await this.must(201, 'POST', '/v1/manifests', { id: 'batch', model: 'thermo', owner: 'acme' });
  }

  // Devices with claim codes: {serial: code}. The hub takes 250 at once.
  async claims(...serials) {
    const codes = {};
    for (let at = 0; at < serials.length; at += 250) {
      const rows = serials.slice(at, at + 250).map((serial) => ({ serial, claim: { expires_at: '2099-01-01T00:00:00Z' } }));
      const { devices } = await this.must(201, 'POST', '/v1/manifests/batch/devices', { rows });
      for (const { serial, claim_code } of devices) codes[serial] = claim_code;
    }
    return codes;
  }

  // All of its entries.
  async ledger() {
    const all = [];
    for (;;) {
      const { size, entries } = await this.must(200, 'GET', `/v1/ledger/entries?limit=1000&first=${all.length}`);
      all.push(...entries.map(({ entry }) => entry));
      if (all.length >= size || entries.length === 0) return all;
    }
  }

  // How many acts it holds: refusals leave findings, and nothing else.
  async acts() {
    return (await this.ledger()).filter(({ act }) => !act.startsWith('finding.')).length;
  }

  // The metrics: a map from `name` or `name{label="value"}` to its number.
  async metrics() {
    const { status, body } = await this.api('GET', '/metrics');
    if (status !== 200) throw new Error(`/metrics: ${status}`);
    const lines = body.toString().split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return new Map(lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }));
  }
}

// ---- curl and openssl as a device

export async function openssl(words, input) {
  const child = execFile('openssl', words, { encoding: 'buffer', maxBuffer: 1 << 24 });
  const parts = [];
  const errors = [];
  child.stdout.on('data', (part) => parts.push(Buffer.from(part)));
  child.stderr.on('data', (part) => errors.push(part));
  child.stdin.on('error', () => {}); // it may end before it has read everything
  child.stdin.end(input);
  const code = await new Promise((done) => child.on('close', done));
  if (code !== 0) throw new Error(`openssl ${words.join(' ')}: ${Buffer.concat(errors.map((e) => Buffer.from(e)))}`);
  return Buffer.concat(parts);
}

const keyWords = {
  'P-256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'P-521': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
  Ed25519: ['-algorithm', 'ED25519'],
  'RSA-1024': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'],
  'RSA-2048': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
};

export async function newKey(path, kind = 'P-256') {
  await openssl(['genpkey', ...keyWords[kind], '-out', path]);
  return path;
}

export const csrDer = (key, subject) => openssl(['req', '-new', '-key', key, '-subj', subject, '-outform', 'DER']);

export async function csrBody(key, subject) {
  return (await csrDer(key, subject)).toString('base64').replace(/.{64}/g, '$&\n') + '\n';
}

// curl with what a test adds; gives status, headers and body.
export async function curl(hub, listener, path, words = [], input) {
  const url = `https://localhost:${hub.ports[listener]}${path}`;
  const all = ['-sS', '-i', '--http1.1', '--max-time', '20', '--cacert', hub.roots,
               '--resolve', `localhost:${hub.ports[listener]}:127.0.0.1`, ...words];
  if (input !== undefined) all.push('--data-binary', '@-');
  const child = execFile('curl', [...all, url], { encoding: 'buffer', maxBuffer: 1 << 26 });
  const parts = [];
  let errors = '';
  child.stdout.on('data', (part) => parts.push(Buffer.from(part)));
  child.stderr.on('data', (part) => (errors += part));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const code = await new Promise((done) => child.on('close', done));
  const bytes = Buffer.concat(parts);
  if (code !== 0) return { curl: code, error: errors };
  const split = bytes.indexOf('\r\n\r\n');
  const head = bytes.subarray(0, split).toString().split('\r\n');
  const body = bytes.subarray(split + 4);
  const headers = Object.fromEntries(head.slice(1).map((line) => {
    const at = line.indexOf(':');
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
  }));
  const status = Number(head[0].split(' ')[1]);
  const json = /json/.test(headers['content-type'] ?? '') ? JSON.parse(body) : undefined;
  return { status, headers, body, json };
}

// The listener `status`, over plain HTTP.
export function plain(hub, method, path, { body, headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: hub.ports.status, method, path, agent: false, headers: { ...headers } };
    if (body !== undefined) options.headers['Content-Length'] ??= body.length;
    const request = http.request(options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        const bytes = Buffer.concat(parts);
        const isJson = bytes.length > 0 && /json/.test(response.headers['content-type'] ?? '');
        resolve({ status: response.statusCode, headers: response.headers, body: bytes, json: isJson ? JSON.parse(bytes) : undefined });
      });
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

const EST_TYPE = ['-H', 'Content-Type: application/pkcs10'];

// simpleenroll with the claim code (or other curl words); gives the answer.
export function enrol(hub, serial, code, body, words = []) {
  const user = hub.tenant ? `${hub.tenant}/${serial}` : serial;
  const credentials = code === undefined ? [] : ['-u', `${user}:${code}`];
  return curl(hub, 'bootstrap', '/.well-known/est/simpleenroll', [...credentials, ...EST_TYPE, ...words], body);
}

export function renew(hub, device, body) {
  return curl(hub, 'device', '/.well-known/est/simplereenroll',
              ['--cert', device.certificate, '--key', device.key, ...EST_TYPE], body);
}

// The certificate in a certs-only answer, as PEM in a file.
export async function keepCertificate(answer, path) {
  const der = Buffer.from(answer.body.toString(), 'base64');
  const pem = await openssl(['pkcs7', '-inform', 'DER', '-print_certs'], der);
  await writeFile(path, pem);
  return path;
}

// A device with key and certificate, enrolled by curl and openssl alone.
export async function enrolledDevice(hub, serial, { kind = 'P-256', words } = {}) {
  const { [serial]: code } = await hub.claims(serial);
  const key = await newKey(join(hub.folder, `${serial}.key`), kind);
  const body = await csrBody(key, `/CN=${serial}`);
  const answer = await enrol(hub, serial, code, body, words);
  if (answer.status !== 200) throw new Error(`enrolment of ${serial}: ${JSON.stringify(answer.json ?? answer)}`);
  const certificate = await keepCertificate(answer, join(hub.folder, `${serial}.crt`));
  return { serial, code, key, certificate, csr: body };
}

// A request with a device's certificate.
export function as(hub, device, path, words = [], input) {
  return curl(hub, 'device', path, ['--cert', device.certificate, '--key', device.key, ...words], input);
}
