// A real Mosquitto with the plugin, a hub that a test plays for it, and a CA for both.
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PolicyKey, feed, rules } from './feed.mjs';
import { Mqtt } from './mqtt.mjs';
import { broker as fleetBroker } from './broker.mjs';
import { until } from './hub.mjs';

const run = promisify(execFile);
export const build = process.env.HOLDFAST_BUILD ?? new URL('../../../build/release', import.meta.url).pathname;
// Another version's, to try the plugin there: its tests are the same.
const program = process.env.HOLDFAST_MOSQUITTO ?? '/usr/sbin/mosquitto';
const plugin = join(build, 'broker/holdfast_mosquitto.so');
const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

export class Authority {
  static async make(folder) {
    const ca = new Authority();
    ca.folder = folder;
    ca.roots = join(folder, 'root.pem');
    await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', join(folder, 'root.key'),
      '-out', ca.roots, '-subj', '/CN=test root', '-days', '2', '-addext', 'basicConstraints=critical,CA:TRUE']);
    return ca;
  }

  // {certificate, key: paths; sha256, notAfter: as a feed has them; pem, keyPem}
  async issue(name, { hosts = [], days = 1 } = {}) {
    const file = (ending) => join(this.folder, `${name}${ending}`);
    const san = ['DNS:broker.example', 'IP:127.0.0.1', ...hosts].join(',');
    await run('openssl', ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file('.key'), '-out', file('.csr'), '-subj', `/CN=${name}`]);
    await writeFile(file('.ext'), `subjectAltName=${san}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    await run('openssl', ['x509', '-req', '-in', file('.csr'), '-CA', this.roots, '-CAkey', join(this.folder, 'root.key'), '-CAcreateserial', '-days', String(days), '-extfile', file('.ext'), '-out', file('.pem')]);
    const pem = await readFile(file('.pem'));
    const parsed = new X509Certificate(pem);
    return {
      name, certificate: file('.pem'), key: file('.key'), pem, keyPem: await readFile(file('.key')),
      sha256: createHash('sha256').update(parsed.raw).digest(), notAfter: Math.floor(Date.parse(parsed.validTo) / 1000),
    };
  }
}

// Speaks the hub's half of the wire: table, changes, rules, reports.
export class FakeHub {
  constructor(ca, identity) {
    this.ca = ca;
    this.identity = identity;
    this.devices = new Map();
    this.position = 1;
    this.log = []; // [position, device]
    this.version = 0;
    this.reports = [];
    this.waiting = new Set();
    this.asked = [];
    this.first = 1; // positions before it are unknown
  }

  async listen(port = 0) {
    this.sockets = new Set();
    this.server = https.createServer({
      key: this.identity.keyPem, cert: this.identity.pem, ca: await readFile(this.ca.roots), requestCert: true, rejectUnauthorized: true,
    }, (request, response) => this.serve(request, response));
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    this.server.listen(port, '127.0.0.1');
    await new Promise((done) => this.server.once('listening', done));
    this.port = this.server.address().port;
  }

  // Away: connections are cut, new ones refused.
  async leave() {
    if (!this.server.listening) return;
    this.wakeAll();
    for (const socket of this.sockets) socket.destroy();
    await new Promise((done) => this.server.close(done));
  }

  comeBack() {
    return this.listen(this.port);
  }

  set(device, fields) {
    this.devices.set(device, { device, ...this.devices.get(device), ...fields });
    this.position++;
    this.log.push([this.position, device]);
    this.wakeAll();
    return this.position;
  }

  setRules(version, file) {
    this.version = version;
    this.rules = file;
    this.position++;
    this.wakeAll();
  }

  wakeAll() {
    for (const wake of this.waiting) wake();
    this.waiting.clear();
  }

  async serve(request, response) {
    const url = new URL(request.url, 'https://hub');
    const number = (name) => Number(url.searchParams.get(name) ?? 0);
    this.asked.push(url.pathname + url.search);
    const answer = (status, type, body = '') => {
      response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
      response.end(body);
    };
    const feedType = 'application/vnd.holdfast.feed';
    if (url.pathname === '/v1/broker/table') {
      const after = url.searchParams.get('after') ?? '';
      const names = [...this.devices.keys()].sort().filter((name) => name > after).slice(0, Math.min(number('limit'), this.pageMax ?? 2000));
      return answer(200, feedType, feed(this.position, this.version, names.map((name) => this.devices.get(name))));
    }
    if (url.pathname === '/v1/broker/changes') {
      const after = number('after');
      if (after > this.position || after < this.first)
        return answer(409, 'application/problem+json', '{"code":"position-unknown"}');
      if (after === this.position && this.version <= number('rules') && number('wait') > 0) {
        await new Promise((done) => {
          const timer = setTimeout(done, number('wait') * 1000);
          this.waiting.add(() => { clearTimeout(timer); done(); });
        });
      }
      const names = new Set(this.log.filter(([at]) => at > after).map(([, name]) => name));
      return answer(200, feedType, feed(this.position, this.version, [...names].map((name) => this.devices.get(name))));
    }
    if (url.pathname === '/v1/broker/rules')
      return this.version > number('version') ? answer(200, 'application/vnd.holdfast.rules', this.rules) : answer(204, feedType);
    if (url.pathname === '/v1/broker/reports') {
      let body = '';
      for await (const piece of request) body += piece;
      if (this.deaf) return answer(503, feedType);
      this.reports.push(JSON.parse(body));
      return answer(204, feedType);
    }
    return answer(404, feedType);
  }

  ended(device) {
    return this.reports.flatMap((report) => report.ended).filter((e) => e.device === device);
  }

  refused(kind) {
    return this.reports.flatMap((report) => report.refusals).filter((r) => r.kind === kind);
  }
}

export class Mosquitto {
  otherKey = new PolicyKey('fleet.example/policy-2', randomBytes(32)); // of another hub
  host = 'broker.example';
  // `policy`: policy.yaml; `devices`: names of model thermo, or {name, ...fields of the record}; `config`: further
  // lines of the plugin's file; `mosquitto`: of Mosquitto's; `certificates`: whether its listener requires them.
  static async start({ policy, devices = [], config = {}, mosquitto = '', certificates = true } = {}) {
    const broker = new Mosquitto();
    try {
      await broker.make({ policy, devices, config, mosquitto, certificates });
      await broker.launch();
      return broker;
    } catch (error) {
      await broker.stop();
      throw error;
    }
  }

  async make({ policy, devices, config, mosquitto, certificates }) {
    this.folder = await mkdtemp(join(tmpdir(), 'holdfast-broker-'));
    this.state = join(this.folder, 'state');
    await mkdir(this.state);
    this.ca = await Authority.make(this.folder);
    this.identity = await this.ca.issue('broker');
    this.policyKey = new PolicyKey('fleet.example/policy', randomBytes(32));
    this.hub = new FakeHub(this.ca, await this.ca.issue('hub'));
    this.devices = {};
    for (const device of devices) {
      const { name, ...fields } = typeof device === 'string' ? { name: device } : device;
      await this.addDevice(name, fields);
    }
    if (policy) this.hub.setRules(1, this.makeRules(1, policy));
    await this.hub.listen();
    this.port = await freePort();
    await this.configure(config, mosquitto, certificates);
  }

  // Beside a real hub, as one of its brokers: enrolled there, with the rules of its policy.
  // `hosts`: further names of its certificate, at which it is reached, too.
  static async beside(hub, name = 'mqtt-1', { config = {}, certificates = true, hosts = [] } = {}) {
    const broker = new Mosquitto();
    broker.host = 'mqtt.example.com';
    broker.folder = await mkdtemp(join(tmpdir(), 'holdfast-broker-'));
    broker.state = join(broker.folder, 'state');
    await mkdir(broker.state);
    const issuing = await readFile(join(hub.state, 'signer', 'issuing.pem'));
    const one = await fleetBroker(hub, name, [broker.host, ...hosts]);
    broker.listens = hosts.length > 0 ? '' : '127.0.0.1';
    broker.identity = { certificate: join(broker.folder, 'broker.pem'), key: one.key };
    await writeFile(broker.identity.certificate, Buffer.concat([await readFile(one.certificate), issuing]));
    broker.ca = { roots: join(broker.folder, 'roots.pem') };
    await writeFile(broker.ca.roots, Buffer.concat([await readFile(hub.roots), issuing]));
    broker.policyKey = { text: (await hub.must(200, 'GET', '/v1/hubs')).hubs[0].policy_key };
    broker.devices = {};
    broker.hub = { port: hub.ports.device, leave() {} };
    broker.port = await freePort();
    await broker.configure(hub.tenant ? { tenant: hub.tenant, ...config } : config, '', certificates);
    try {
      await broker.launch();
      return broker;
    } catch (error) {
      await broker.stop();
      throw error;
    }
  }

  // A device of the hub's, as lib/hub.mjs enrols them.
  async adopt({ serial, certificate, key }) {
    this.devices[serial] = { certificate, key, pem: await readFile(certificate), keyPem: await readFile(key) };
  }

  makeRules(version, policy, key = this.policyKey) {
    return rules(build, key, version, policy);
  }

  async addDevice(name, fields = {}) {
    const identity = await this.ca.issue(name.replaceAll('/', '_'));
    this.devices[name] = identity;
    this.hub.set(name, { model: 'thermo', certificates: [{ sha256: identity.sha256, notAfter: identity.notAfter }], ...fields });
    return identity;
  }

  async configure(config, mosquitto, certificates) {
    const conf = {
      hubs: `127.0.0.1:${this.hub.port}`, certificate: this.identity.certificate, key: this.identity.key, roots: this.ca.roots,
      'policy-key': `${this.policyKey.text}, ${this.otherKey.text}`, state: this.state, 'control-port': String(this.port), 'control-name': this.host, ...config,
    };
    await writeFile(join(this.folder, 'broker.conf'), Object.entries(conf).map(([k, v]) => `${k} = ${v}\n`).join(''));
    this.conf = join(this.folder, 'mosquitto.conf');
    await writeFile(this.conf, `per_listener_settings false
allow_anonymous false
user root
persistence true
persistence_location ${this.folder}/
autosave_interval 1
autosave_on_changes true
set_tcp_nodelay true
log_type all
plugin ${plugin}
plugin_opt_config ${this.folder}/broker.conf
listener ${this.port} ${this.listens ?? '127.0.0.1'}
cafile ${this.ca.roots}
certfile ${this.identity.certificate}
keyfile ${this.identity.key}
require_certificate ${certificates}
use_identity_as_username false
${mosquitto}`);
  }

  async launch({ ready = true } = {}) {
    this.log = '';
    const env = { ...process.env };
    // A plugin with AddressSanitizer needs its runtime to be the first library of the program.
    if (/asan/.test(build)) {
      const { stdout } = await run('gcc', ['-print-file-name=libasan.so']);
      Object.assign(env, { LD_PRELOAD: stdout.trim(), ASAN_OPTIONS: 'detect_leaks=0:verify_asan_link_order=0', UBSAN_OPTIONS: 'print_stacktrace=1' });
    }
    this.child = spawn(program, ['-c', this.conf], { env });
    running.add(this.child);
    const heard = (data) => { this.log += data; };
    this.child.stdout.on('data', heard);
    this.child.stderr.on('data', heard);
    const child = this.child;
    child.exited = new Promise((done) => child.once('exit', (code, signal) => {
      running.delete(child);
      child.status = signal ?? code;
      done(child.status);
    }));
    if (ready)
      await until('the broker is up to date with its hub', () => {
        if (child.status !== undefined) throw new Error(`mosquitto ended with ${child.status}: ${this.log}`);
        return this.log.includes('up to date with the hub');
      }, 30000).catch((error) => { throw new Error(`${error.message}: ${this.log}`); });
  }

  async kill(signal = 'SIGTERM') {
    this.child.kill(signal);
    return this.child.exited;
  }

  async stop() {
    if (this.child && this.child.status === undefined) await this.kill();
    if (this.hub?.server) await this.hub.leave();
    await rm(this.folder, { recursive: true, force: true });
    if (/AddressSanitizer|runtime error/.test(this.log ?? '')) throw new Error(this.log);
  }

  async status() {
    return JSON.parse(await readFile(join(this.state, 'status.json'), 'utf8'));
  }

  // A raw client with a device's certificate (or another's); `from`: its address.
  async open(name, identity = this.devices[name], from = undefined) {
    return Mqtt.open({ host: this.host, port: this.port, roots: await readFile(this.ca.roots), certificate: identity?.pem, key: identity?.keyPem, from });
  }

  // Connected, or an error that says why not.
  async connect(name, options = {}) {
    const client = await this.open(name, options.identity, options.from);
    const answer = await client.connect(options.id ?? name, options);
    if (answer?.reason !== 0) throw new Error(`${name} is refused: ${JSON.stringify(answer)}`);
    client.present = answer.present;
    return client;
  }

  // The reason a connect is refused with; 0: it is not. undefined: no answer at all.
  async tryConnect(name, options = {}) {
    const client = await this.open(name, options.identity, options.from);
    const answer = await client.connect(options.id ?? name, options);
    client.drop();
    return answer?.reason;
  }

  // Others' clients: mosquitto_pub, mosquitto_sub. {status, out, error}
  async client(program, name, args, ms = 15000) {
    const identity = this.devices[name];
    return new Promise((done) => execFile(program, ['-h', '127.0.0.1', '-p', String(this.port), '--cafile', this.ca.roots, '--cert', identity.certificate,
      '--key', identity.key, '-i', name, ...args], { timeout: ms }, (error, stdout, stderr) => done({ status: error?.code ?? (error ? error.signal : 0), out: stdout, error: stderr })));
  }
}
