// From `holdfast broker add` on the hub's machine to a Mosquitto that follows the hub: by the commands alone.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import net from 'node:net';
import { holdfast } from './lib/cli.mjs';
import { Hub, programs, until } from './lib/hub.mjs';
import { build } from './lib/mosquitto.mjs';

const freePort = () => new Promise((done) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

describe('a broker that is enrolled by command', () => {
  let hub, folder, conf, port, claim, mosquitto, log = '';
  before(async () => {
    hub = await Hub.start({}, { cliEnv: { PATH: `${dirname(programs.agent)}:${process.env.PATH}` } });
    await chmod(hub.folder, 0o755); // Mosquitto's user goes through it
    folder = join(hub.folder, 'holdfast');
    conf = join(hub.folder, 'holdfast.conf');
    port = await freePort();
  });
  after(async () => {
    if (mosquitto && mosquitto.exitCode === null) {
      mosquitto.kill('SIGTERM');
      await new Promise((done) => mosquitto.once('exit', done));
    }
    await hub.stop();
  });

  const words = (from, more) => ['broker', 'enrol', 'mqtt-1', '--hub', `localhost:${hub.ports.device},localhost:${hub.ports.bootstrap}`,
    '--claim-file', from, '--host', 'mqtt.example.com', '--trust-bundle', join(hub.state, 'bundle'), '--folder', folder, '--mosquitto', conf,
    '--plugin', join(build, 'broker/holdfast_mosquitto.so'), '--port', String(port), ...more];
  const enrol = (...more) => hub.cli(...words(claim, more));

  it('refuses what is not right, and leaves foreign files alone', async () => {
    claim = join(hub.folder, 'mqtt-1.claim');
    const added = await hub.cli('broker', 'add', 'mqtt-1', '--host', 'mqtt.example.com', '-o', claim);
    const code = (await readFile(claim, 'utf8')).trim();
    assert.match(code, /^[0-9A-Z-]{30,}$/);
    assert.ok(!(added.stdout + added.stderr).includes(code));
    assert.equal((await stat(claim)).mode & 0o777, 0o600);
    await writeFile(conf, 'listener 1883\n');
    const foreign = await enrol();
    assert.equal(foreign.code, 1);
    assert.match(foreign.stderr, /not written by this command/);
    assert.equal(await readFile(conf, 'utf8'), 'listener 1883\n');
    assert.equal((await enrol('--port', '99999')).code, 2);
    const asked = ['broker', 'enrol', 'mqtt-1', '--claim-file', claim, '--host', 'mqtt.example.com'];
    assert.equal((await hub.cli(...asked, '--hub', 'a b', '--trust-bundle', join(hub.state, 'bundle'))).code, 2);
    assert.equal((await hub.cli(...asked, '--hub', 'localhost', '--trust-bundle', conf)).code, 5);
    const bundle = ['--hub', 'localhost', '--trust-bundle', join(hub.state, 'bundle')], wrong = join(hub.folder, 'wrong');
    const without = ['broker', 'enrol', 'mqtt-1', '--host', 'mqtt.example.com', ...bundle];
    assert.equal((await hub.cli(...without)).code, 2);
    for (const [text, says] of [[undefined, /No such file/], ['', /holds no claim code/], ['\n\n', /holds no claim code/], ['A\0B\n', /holds no claim code/], ['A'.repeat(200), /too long for a claim code/]]) {
      if (text !== undefined) await writeFile(wrong, text);
      const { code: exit, stderr } = await hub.cli(...without, '--claim-file', wrong);
      assert.deepEqual([exit, says.test(stderr)], [6, true], stderr);
    }
  });

  it('has key, certificate and configuration, closed to others', async () => {
    const input = `${await readFile(claim, 'utf8')}of which a line is read`;
    const done = await holdfast(words('-', ['--yes']), { env: hub.options.cliEnv, input });
    assert.equal(done.code, 0, done.stderr + hub.log.slice(-2000));
    const pem = await readFile(join(folder, 'agent/copies/identity.pem'), 'utf8');
    assert.match(pem, /BEGIN PRIVATE KEY/);
    assert.equal((await stat(join(folder, 'agent/copies/identity.pem'))).mode & 0o077, 0);
    const certificate = new X509Certificate(pem.slice(pem.indexOf('-----BEGIN CERTIFICATE')));
    assert.match(certificate.subjectAltName, /DNS:mqtt\.example\.com/);
    assert.ok((pem.match(/BEGIN CERTIFICATE/g)).length >= 2, 'with what is between it and the root');
    await assert.rejects(readFile(join(folder, 'agent/claim')), 'the claim code is gone');
    assert.equal((await enrol()).code, 0, 'once more changes nothing');
    assert.equal(await readFile(join(folder, 'agent/copies/identity.pem'), 'utf8'), pem);
  });

  it('passes the doctor', async () => {
    const { code, stdout } = await hub.cli('doctor', 'broker', '--config', conf);
    assert.ok([0, 7].includes(code), stdout);
    assert.doesNotMatch(stdout, /^fail/m);
  });

  it('follows the hub, in a real Mosquitto', async () => {
    const main = join(hub.folder, 'mosquitto.conf');
    await writeFile(main, `log_type all\n${await readFile(conf, 'utf8')}`);
    const env = { ...process.env };
    if (/asan/.test(build)) {
      const { stdout } = await promisify(execFile)('gcc', ['-print-file-name=libasan.so']);
      Object.assign(env, { LD_PRELOAD: stdout.trim(), ASAN_OPTIONS: 'detect_leaks=0:verify_asan_link_order=0' });
    }
    mosquitto = spawn('/usr/sbin/mosquitto', ['-c', main], { env });
    for (const stream of [mosquitto.stdout, mosquitto.stderr]) stream.on('data', (data) => { log += data; });
    await until('the hub has heard of it', async () => {
      if (mosquitto.exitCode !== null) throw new Error(log);
      return (await hub.metrics()).get('holdfast_brokers_connected') === 1;
    }, 40000).catch((error) => { throw new Error(`${error.message}\n${log}`); });
    const seen = await until('it has the whole table', async () => {
      const { seen: last } = await hub.must(200, 'GET', '/v1/brokers/mqtt-1');
      return last?.position > 0 && last.behind === 0 ? last : undefined;
    }, 40000).catch((error) => { throw new Error(`${error.message}\n${log}`); });
    assert.ok(Date.parse(seen.seen_at) > Date.now() - 60000);
    assert.match((await hub.cli('broker', 'show', 'mqtt-1')).stdout, /0 entries behind/);
  });
});
