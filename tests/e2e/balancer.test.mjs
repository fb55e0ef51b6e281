// Three hubs behind a plain TCP balancer (haproxy): what one of them acknowledged holds on all, whichever
// is killed; and one that is cut off from the database serves nobody it should not.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import net from 'node:net';
import { Fleet } from './lib/fleet.mjs';
import { as, csrBody, curl, enrol, enrolledDevice, keepCertificate, newKey, programs, renew, until } from './lib/hub.mjs';
import { LIMITS, Load, prepare, proven } from './lib/load.mjs';
import { connect } from './lib/wire.mjs';

const run = promisify(execFile);
const SELF = '/v1/device/self';
const isRoot = process.getuid() === 0;

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

class Haproxy {
  // `prefix`: words before the program, as to run it in a namespace.
  static async start(text, prefix = []) {
    const haproxy = new Haproxy();
    haproxy.folder = await mkdtemp('/tmp/holdfast-haproxy-');
    const file = join(haproxy.folder, 'haproxy.cfg');
    await writeFile(file, `global\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n${text}`);
    const words = [...prefix, 'haproxy', '-db', '-f', file];
    haproxy.process = spawn(words[0], words.slice(1), { stdio: 'ignore' });
    haproxy.ended = new Promise((done) => haproxy.process.once('exit', done));
    process.once('exit', () => haproxy.process.kill('SIGKILL'));
    return haproxy;
  }

  async stop() {
    this.process.kill('SIGTERM');
    await this.ended;
    await rm(this.folder, { recursive: true, force: true });
  }
}

describe('three hubs behind a balancer', { timeout: 240000 }, () => {
  let fleet, haproxy, front;
  before(async () => {
    fleet = await Fleet.start(3, { config: { ...LIMITS, 'connections-per-address': '1000' } });
    const [first] = fleet.hubs;
    for (const hub of fleet.hubs) // where haproxy finds them again
      for (const listener of ['device', 'bootstrap', 'operator']) hub.config[`listen-${listener}`] = `127.0.0.1:${hub.ports[listener]}`;
    front = { folder: first.folder, roots: first.roots, ports: { device: await freePort(), bootstrap: await freePort() } };
    const listen = (name) => [`listen ${name}`, `  bind 127.0.0.1:${front.ports[name]}`, '  balance roundrobin', '  retries 3', '  option redispatch',
      '  option httpchk GET /v1/health', `  default-server inter 200 fall 1 rise 1 check check-ssl ca-file ${first.roots} verify required verifyhost localhost`,
      ...fleet.hubs.map((hub, i) => `  server hub-${i + 1} 127.0.0.1:${hub.ports[name]} port ${hub.ports.operator}`)].join('\n');
    haproxy = await Haproxy.start(`${listen('device')}\n${listen('bootstrap')}\n`);
    await until('the balancer has found a hub', async () => (await curl(front, 'bootstrap', '/.well-known/est/cacerts')).status === 200);
    await first.factory();
  });
  after(async () => {
    await haproxy?.stop();
    await fleet?.stop();
  });

  it('a device enrols, checks in, renews and is revoked, whichever hub answers', async () => {
    const { 'walk-1': code } = await fleet.hubs[0].claims('walk-1');
    const key = await newKey(join(front.folder, 'walk-1.key'));
    const answer = await enrol(front, 'walk-1', code, await csrBody(key, '/CN=walk-1'));
    assert.equal(answer.status, 200);
    let device = { key, certificate: await keepCertificate(answer, join(front.folder, 'walk-1.crt')) };
    for (let i = 0; i < 6; i++) assert.equal((await as(front, device, SELF)).status, 200); // each hub twice
    for (let i = 0; i < 3; i++) {
      const next = await newKey(join(front.folder, `walk-1.${i}.key`));
      const renewed = await renew(front, device, await csrBody(next, '/CN=walk-1'));
      assert.equal(renewed.status, 200);
      device = { key: next, certificate: await keepCertificate(renewed, join(front.folder, `walk-1.${i}.crt`)) };
      assert.equal((await as(front, device, SELF)).status, 200);
    }
    await fleet.hubs[1].must(200, 'POST', '/v1/devices/walk-1/revoke', { reason: 'a test' });
    for (let i = 0; i < 6; i++) assert.equal((await as(front, device, SELF)).json.code, 'device-revoked');
  });

  it('lose nothing that was acknowledged when any of them is killed, and keep one ledger', async (t) => {
    const waiting = await prepare(fleet.hubs[0], 'load', 150);
    const load = new Load(front, waiting);
    for (const [i, hub] of fleet.hubs.entries()) {
      await load.atLeast(20 + 40 * i, 'some have enrolled', 60000);
      await hub.restart('SIGKILL');
    }
    await load.atLeast(150, 'all have enrolled', 60000);
    await load.stop();
    const codes = [...load.codes].map(([code, n]) => `${code} ${n}`).join(', ');
    t.diagnostic(`150 enrolled while each of three hubs was killed once; slowest answer ${load.slowest.toFixed(0)} ms; refused meanwhile: ${codes || 'none'}`);
    for (const hub of fleet.hubs) await proven(hub, load.enrolled);

    // Offline, with the keys of all three, and only with the one that signed.
    const { hubs } = await fleet.hubs[0].must(200, 'GET', '/v1/hubs');
    const keys = hubs.flatMap(({ ledger_key: key }) => ['--key', key]);
    for (const [i, hub] of fleet.hubs.entries()) {
      const folder = join(hub.folder, 'ledger');
      const exported = await hub.cli('ledger', 'export', '--local', '--key', hubs[i].ledger_key, folder);
      assert.equal(exported.code, 0, exported.stderr);
      await run(programs.verify, [...keys, folder]);
      await assert.rejects(run(programs.verify, ['--key', hubs[(i + 1) % 3].ledger_key, folder]));
    }
  });
});

describe('a hub that is cut off from the database', { timeout: 180000, skip: isRoot ? false : 'needs root, for a network namespace' }, () => {
  const name = `hf${process.pid % 100000}`;
  const net16 = `10.${77 + (process.pid % 100)}.${process.pid % 250}`;
  const ip = (...words) => execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let fleet, relay, a, b;
  before(async () => {
    fleet = await Fleet.start(1, { config: { lease: '3s' } });
    ip('netns', 'add', name);
    ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    ip('addr', 'add', `${net16}.1/24`, 'dev', name);
    ip('link', 'set', name, 'up');
    for (const words of [['addr', 'add', `${net16}.2/24`, 'dev', 'eth0'], ['link', 'set', 'eth0', 'up']]) ip('-n', name, ...words);
    // The database's own host, on the other side of a cable: the first hub reaches it otherwise.
    relay = await Haproxy.start(`listen database\n  bind ${net16}.2:5432\n  server one unix@${fleet.postgres.folder}/.s.PGSQL.5432\n`, ['ip', 'netns', 'exec', name]);
    [a] = fleet.hubs;
    await a.factory();
    b = await fleet.prepare('hub-2');
    b.config.store = `postgresql://postgres@${net16}.2/fleet`;
    await fleet.admit(b);
    await b.launch();
    fleet.hubs.push(b);
  });
  after(async () => {
    try {
      ip('link', 'set', name, 'up');
      await fleet?.stop();
      await relay?.stop();
    } finally {
      execFileSync('ip', ['netns', 'del', name]);
    }
  });

  it('answers devices 503 after its lease, never serves who was revoked meanwhile, and comes back', async (t) => {
    const [lost, kept] = [await enrolledDevice(a, 'lost'), await enrolledDevice(b, 'kept')];
    for (const device of [lost, kept]) assert.equal((await as(b, device, SELF)).status, 200);
    const idle = await connect(b, 'device', { device: lost });
    assert.equal((await idle.request('GET', SELF)).status, 200);
    ip('link', 'set', name, 'down');
    const cut = performance.now();
    await a.must(200, 'POST', '/v1/devices/lost/revoke', { reason: 'a test' });
    assert.equal((await as(a, kept, SELF)).status, 200, 'the other goes on');
    const past = await until('its lease is over', async () => {
      const answer = await as(b, lost, SELF);
      assert.notEqual(answer.status, 200, 'it was revoked before it asked');
      return answer.status === 503 && /lease/.test(answer.json.detail) && answer;
    }, 30000);
    t.diagnostic(`503 by its lease of 3 s was seen ${((performance.now() - cut) / 1000).toFixed(1)} s after the cut`);
    assert.ok(Number(past.headers['retry-after']) > 0);
    assert.equal((await as(b, kept, SELF)).status, 503, 'it can\'t know of anybody');
    ip('link', 'set', name, 'up');
    await until('it serves again', async () => (await as(b, kept, SELF)).status === 200, 60000);
    assert.equal((await as(b, lost, SELF)).json.code, 'device-revoked');
    assert.ok(await idle.endsWithin(10000), 'and the connection that was open is closed');
  });
});
