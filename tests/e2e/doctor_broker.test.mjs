// Configurations of a real Mosquitto that lead past the plugin: shown to do so, and refused by the doctor.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile, spawn } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import net from 'node:net';
import { programs, until } from './lib/hub.mjs';
import { Mosquitto } from './lib/mosquitto.mjs';

const DYNSEC = '/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so';
const POLICY = `holdfast: 1
fleet: fleet.example
models:
  thermo:
    identity: {maker: acme}
    limits: {messages: 6000/min, connects: 6000/min, stale: 1h}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
`;

const run = (program, words) => new Promise((done) => execFile(program, words, { timeout: 15000 }, (error, stdout, stderr) =>
  done({ status: error?.code ?? (error ? error.signal : 0), stdout, stderr })));

const freePort = () => new Promise((done) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => done(port)); });
});

const doctor = (conf, words = []) => new Promise((done) => {
  execFile(programs.cli, ['doctor', 'broker', '--config', conf, '--json', ...words], (error, stdout, stderr) =>
    done({ code: error?.code ?? 0, checks: Object.fromEntries((stdout === '' ? [] : JSON.parse(stdout).checks).map((one) => [one.check, one])), stderr }));
});

describe('a configuration that leads past the plugin', () => {
  let broker, good;
  before(async () => {
    broker = await Mosquitto.start({ policy: POLICY, devices: ['t-1', 'revoked'] });
    good = await readFile(broker.conf, 'utf8');
    broker.hub.set('revoked', { state: 'revoked', cut: true, certificates: [] });
    await until('the cut has arrived', () => broker.hub.ended('revoked').length > 0, 20000);
  });
  after(() => broker?.stop());

  // Publishes as the revoked device, whose certificate is in date and of the right authority, on another's topic.
  const intrudes = (words = []) => broker.client('mosquitto_pub', 'revoked', ['-t', 'fleet/t-1/down/set', '-m', '99', '-q', '1', ...words]);
  // Whether the plugin is content with such a configuration is not asked: what the broker lets in is.
  const restart = async (conf) => {
    await broker.kill();
    await writeFile(broker.conf, conf);
    await broker.launch({ ready: false });
    await until('the broker runs', () => / running\n/.test(broker.log));
  };

  it('is none where the plugin guards all: the revoked device is refused, and the doctor content', async () => {
    assert.notEqual((await intrudes()).status, 0);
    const { code, checks } = await doctor(broker.conf);
    assert.equal(checks.username.result, 'pass');
    assert.deepEqual(Object.values(checks).filter(({ result }) => result === 'fail'), []);
    assert.ok([0, 7].includes(code));
  });

  it('is the certificate\'s name as user name: the plugin is not asked, and the revoked device is in', async () => {
    await restart(good.replace('use_identity_as_username false', 'use_identity_as_username true'));
    const out = await intrudes();
    assert.equal(out.status, 0, 'the bypass works on this Mosquitto: ' + out.error);
    const { code, checks } = await doctor(broker.conf);
    assert.equal(code, 1);
    assert.equal(checks.username.result, 'fail');
    assert.match(checks.username.next, /use_identity_as_username false/);
  });

  it('is its subject as user name, just so', async () => {
    await restart(good.replace('use_identity_as_username false', 'use_subject_as_username true'));
    const out = await intrudes();
    assert.equal(out.status, 0, 'the bypass works on this Mosquitto: ' + out.error);
    const { code, checks } = await doctor(broker.conf);
    assert.equal(code, 1);
    assert.equal(checks.username.result, 'fail');
    assert.match(checks.username.next, /use_subject_as_username false/);
  });

  it('is a key that is shared: whoever has it is whom it says, and the plugin is not asked', async () => {
    const port = await freePort(), key = '0123456789abcdef', file = join(broker.folder, 'psk');
    await writeFile(file, `anybody:${key}\n`, { mode: 0o600 });
    await restart(good.replace('plugin ', `psk_file ${file}\nplugin `) + `listener ${port} 127.0.0.1\npsk_hint x\nuse_identity_as_username true\n`);
    const sent = await run('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(port), '--psk', key, '--psk-identity', 'anybody', '-i', 'anybody', '-t', 'fleet/t-1/down/set', '-m', '1', '-q', '1']);
    assert.equal(sent.status, 0, 'the bypass works on this Mosquitto: ' + sent.stderr);
    const { code, checks } = await doctor(broker.conf);
    assert.equal(code, 1);
    assert.equal(checks.psk.result, 'fail');
  });

  it('is another plugin before ours, which lets in whom it likes, on any topic', async () => {
    const file = join(broker.folder, 'dynsec.json');
    await run('mosquitto_ctrl', ['dynsec', 'init', file, 'intruder', 'secret']);
    const config = JSON.parse(await readFile(file, 'utf8'));
    config.roles[0].acls.push({ acltype: 'publishClientSend', topic: '#', priority: 0, allow: true });
    await writeFile(file, JSON.stringify(config));
    await restart(good.replace('plugin ', `plugin ${DYNSEC}\nplugin_opt_config_file ${file}\nplugin `));
    const out = await intrudes(['-V', '5', '-u', 'intruder', '-P', 'secret']);
    assert.equal(out.status, 0, 'the bypass works on this Mosquitto: ' + out.error);
    assert.doesNotMatch(out.error, /Not authorized/);
    const { code, checks } = await doctor(broker.conf);
    assert.equal(code, 1);
    assert.equal(checks.others.result, 'fail');
  });

  it('is a bridge in clear: what is said over there is heard here, whoever said it', async () => {
    const port = await freePort(), far = join(broker.folder, 'far.conf');
    await writeFile(far, `listener ${port} 127.0.0.1\nallow_anonymous true\n`);
    const there = spawn('/usr/sbin/mosquitto', ['-c', far], { stdio: 'ignore' });
    try {
      await restart(`${good}connection far\naddress 127.0.0.1:${port}\ntopic # both 0\n`);
      await until('the bridge stands', () => /SUBACK from|Received CONNACK on connection/.test(broker.log));
      await until('the broker admits devices', () => broker.log.includes('up to date with the hub'));
      const client = await broker.connect('t-1');
      await client.subscribe('fleet/t-1/down/#');
      const sent = await run('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(port), '-i', 'anybody', '-t', 'fleet/t-1/down/set', '-m', 'by the bridge', '-q', '1']);
      assert.equal(sent.status, 0, sent.stderr);
      assert.equal((await client.message()).payload, 'by the bridge', 'the bypass works on this Mosquitto');
      client.disconnect();
    } finally {
      there.kill();
    }
    const { code, checks } = await doctor(broker.conf);
    assert.equal(code, 1);
    assert.equal(checks.bridges.result, 'fail');
  });

  it('is a listener of its own settings: strangers without a certificate come in by it', async () => {
    const port = await freePort();
    await restart(good.replace('per_listener_settings false\nallow_anonymous false', 'per_listener_settings true')
      .replace(/^(plugin.*\nplugin_opt_config.*\n)([\s\S]*)$/m, (_, plugin, rest) => `${rest}allow_anonymous false\n${plugin}listener ${port} 127.0.0.1\nallow_anonymous true\n`));
    const sent = await run('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(port), '-i', 'anybody', '-t', 'fleet/t-1/down/set', '-m', '1', '-q', '1']);
    assert.equal(sent.status, 0, 'the bypass works on this Mosquitto: ' + sent.stderr);
    const { code, checks } = await doctor(broker.conf);
    assert.equal(code, 1);
    for (const check of ['anonymous', 'plaintext', 'plugin', 'certificate']) assert.equal(checks[check].result, 'fail', check);
  });

  it('is found behind include_dir, and in files that others can change', async () => {
    const folder = join(broker.folder, 'conf.d');
    await mkdir(folder);
    await writeFile(join(folder, 'b.conf'), 'use_identity_as_username true\n');
    await writeFile(join(folder, 'a.txt'), 'allow_anonymous true\n');
    await writeFile(join(broker.folder, 'other.conf'), `${good}include_dir ${folder}\n`);
    await chmod(join(broker.folder, 'other.conf'), 0o666);
    const { code, checks } = await doctor(join(broker.folder, 'other.conf'));
    assert.equal(code, 1);
    assert.equal(checks.username.result, 'fail');
    assert.equal(checks.anonymous.result, 'pass', 'what is no .conf is not read');
    assert.equal(checks.rights.result, 'fail');
  });

  it('is found where Mosquitto finds it: in each folder, where its line stands, and with 1 for true', async () => {
    const folders = ['first.d', 'second.d'].map((name) => join(broker.folder, name));
    for (const folder of folders) await mkdir(folder);
    const ports = [await freePort(), await freePort()];
    await writeFile(join(folders[0], 'a.conf'), `listener ${ports[0]} 127.0.0.1\nallow_anonymous 1 or so\n`);
    await writeFile(join(folders[1], 'a.conf'), `listener ${ports[1]} 127.0.0.1\nallow_anonymous false\n`);
    // What stands behind the folders is about the listener before them, and what is in one about none outside it.
    const conf = `${good.replace('per_listener_settings false', 'per_listener_settings true')}\ninclude_dir ${folders[0]}\ninclude_dir ${folders[1]}\nmax_connections 7\n`;
    await restart(conf);
    const sent = await run('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(ports[0]), '-t', 'fleet/t-1/down/set', '-m', '99', '-q', '1', '-i', 'a-stranger']);
    assert.equal(sent.status, 0, 'the bypass works on this Mosquitto: ' + sent.stderr);
    const { code, checks } = await doctor(broker.conf);
    assert.equal(code, 1);
    assert.match(checks.anonymous.saw, new RegExp(String(ports[0])));
    assert.match(checks.connections.saw, new RegExp(String(ports[0])), 'the bound is the first listener\'s');
  });

  it('is unknown where it can\'t be read, and an error where it can\'t be understood', async () => {
    assert.equal((await doctor(join(broker.folder, 'absent.conf'))).code, 7);
    await writeFile(join(broker.folder, 'long.conf'), `listener ${'x'.repeat(600)}\n`);
    const { code, checks } = await doctor(join(broker.folder, 'long.conf'));
    assert.equal(code, 1);
    assert.match(checks.mosquitto.saw, /line 1/);
  });
});
