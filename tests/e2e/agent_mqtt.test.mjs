// The real agent publishes through a real Mosquitto with the plugin, beside a real hub, with its own identity.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { access, readFile, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { Hub, enrolledDevice, newKey, openssl, programs, until } from './lib/hub.mjs';
import { Agent } from './lib/agent.mjs';
import { Mosquitto } from './lib/mosquitto.mjs';

const POLICY = `holdfast: 1
fleet: fleet.example
models:
  thermo:
    identity: {maker: acme}
    limits: {messages: 6000/min, connects: 6000/min}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/+/up/#"]
`;
const ADDRESS = '127.0.0.2'; // a broker's certificate may not have a name of the hub

describe('an agent that publishes', { timeout: 300000 }, () => {
  let hub, broker, host;
  const agents = [];
  before(async () => {
    hub = await Hub.start({ 'checkin-interval': '1s', 'enrolment-per-minute': '1000000' });
    await hub.factory();
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: POLICY });
    // A name where there is one, so that it is looked up.
    host = await lookup(hostname()).then(() => hostname(), () => ADDRESS);
    broker = await Mosquitto.beside(hub, 'mqtt-1', { hosts: [...new Set([ADDRESS, host])] });
    await broker.adopt(await enrolledDevice(hub, 'watcher'));
    await until('the broker lets the watcher in', async () => (await broker.tryConnect('watcher')) === 0, 30000);
  });
  afterEach(async () => {
    for (const agent of agents.splice(0)) await agent.stop();
  });
  after(async () => {
    await broker?.stop();
    await hub?.stop();
  });

  const make = async (serial, config = {}) => {
    const { [serial]: code } = await hub.claims(serial);
    const agent = await Agent.make(hub, serial, { code, config: { mqtt: `${ADDRESS}:${broker.port}`, 'telemetry-socket': 'telemetry', ...config } });
    agents.push(agent);
    return agent;
  };
  const connected = async (serial, config) => {
    const agent = (await make(serial, config)).start();
    await agent.saw('mqtt.connected', 1, 30000);
    return agent;
  };
  // `holdfast-agent publish`: {status, error}
  const publish = (agent, topic, payload, ...words) => new Promise((done) => {
    const child = execFile(programs.agent, ['publish', topic, '--config', join(agent.folder, 'agent.conf'), ...words], { timeout: 20000 },
      (error, stdout, stderr) => done({ status: error?.code ?? 0, error: stderr }));
    child.stdin.on('error', () => {});
    child.stdin.end(payload);
  });
  const watch = async (...filters) => {
    const client = await broker.connect('watcher');
    assert.deepEqual(await client.subscribe(...filters), filters.map(() => 1));
    return client;
  };
  const status = async (agent) => JSON.parse((await agent.begin(['status', '--json']).ended).output).telemetry;
  const move = (verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });

  it('sends what programs hand in, under the device\'s own topic, and needs no copy of its key for it', async () => {
    const agent = await connected('pub-1');
    const watcher = await watch('fleet/pub-1/up/#');
    assert.deepEqual(await publish(agent, 'fleet/{device}/up/heat', '21.5'), { status: 0, error: '' });
    const { topic, payload } = await watcher.message();
    assert.deepEqual({ topic, payload }, { topic: 'fleet/pub-1/up/heat', payload: '21.5' });
    assert.equal((await publish(agent, 'fleet/{device}/up/image', Buffer.alloc(16384, 7), '--qos', '0')).status, 0);
    assert.equal((await watcher.message()).payload.length, 16384);
    const file = join(agent.folder, 'payload');
    await writeFile(file, 'from a file');
    assert.equal((await publish(agent, 'fleet/{device}/up/kept', '', '--retain', '--file', file)).status, 0);
    assert.equal((await watcher.message()).payload, 'from a file');
    await watcher.disconnect();
    const later = await watch('fleet/pub-1/up/#');
    const kept = await later.message();
    assert.ok(kept.retain && kept.payload === 'from a file');
    await later.disconnect();
    await until('all are answered', async () => (await status(agent)).published === 3);
    assert.equal((await stat(join(agent.folder, 'telemetry'))).mode & 0o777, 0o660);
    assert.equal(await access(join(agent.folder, 'copies')).then(() => true, () => false), false);
    const text = (await agent.begin(['status']).ended).output;
    assert.match(text, /^telemetry {5}connected to 127\.0\.0\.2:\d+; messages: waiting 0, published 3, dropped 0, malformed 0, refused 0$/m);
    assert.equal((await agent.stop()).code, 0);
    assert.equal(await access(join(agent.folder, 'telemetry')).then(() => true, () => false), false, 'the socket goes with it');
  });

  it('refuses what is no message, and says why', async () => {
    const agent = await connected('pub-2');
    for (const [topic, payload, why] of [
      ['fleet/+/up', '', /a topic is UTF-8, not empty, without "\+" and "#"/],
      ['', '', /not empty/],
      ['fleet/{serial}/up', '', /in braces a topic has \{device\}/],
      ['a\nb', '', /line feed/],
      ['t'.repeat(513), '', /512 bytes/],
      ['t', Buffer.alloc(16385), /16384 bytes/],
    ]) {
      const answer = await publish(agent, topic, payload);
      assert.equal(answer.status, 1, topic);
      assert.match(answer.error, why);
    }
    assert.equal((await publish(agent, 't', '', '--file', '/does/not/exist')).status, 1);
    assert.equal((await publish(agent, 't', '', '--qos', '2')).status, 2);
    assert.equal((await publish(agent, 't', '', '--socket', 'x')).status, 2);
    await agent.stop();
    const answer = await publish(agent, 'fleet/{device}/up/heat', '1');
    assert.equal(answer.status, 1);
    assert.match(answer.error, /no agent listens there/);
  });

  it('tells of what the broker refuses, once for many', async () => {
    const agent = await connected('pub-3');
    for (let i = 0; i < 3; i++) assert.equal((await publish(agent, 'fleet/another/up/heat', 'x')).status, 0);
    const [line] = await agent.saw('mqtt.messages_lost');
    assert.match(line, /reason=135 refused=\d topic=fleet\/another\/up\/heat hint=/);
    await until('all are refused', async () => (await status(agent)).refused === 3);
    assert.equal(agent.events('mqtt.messages_lost').length, 1);
    assert.deepEqual((await status(agent)).last_refused, { topic: 'fleet/another/up/heat', reason: 135 });
    const watcher = await watch('fleet/pub-3/up/#');
    assert.equal((await publish(agent, 'fleet/{device}/up/heat', 'good')).status, 0);
    assert.equal((await watcher.message()).payload, 'good');
    await watcher.disconnect();
  });

  it('waits for the broker\'s answer where it is asked to', async () => {
    const agent = await connected('pub-12');
    assert.deepEqual(await publish(agent, 'fleet/{device}/up/heat', '1', '--wait', '20s'), { status: 0, error: '' });
    assert.deepEqual(await publish(agent, 'fleet/{device}/up/heat', '1', '--wait', '20s', '--qos', '0', '--retain'), { status: 0, error: '' });
    const refused = await publish(agent, 'fleet/another/up/heat', '1', '--wait', '20s');
    assert.equal(refused.status, 1);
    assert.match(refused.error, /reason 135: the policy does not allow it/);
    const wrong = await publish(agent, 'a/#', '1', '--wait', '20s');
    assert.match(wrong.error, /a topic is UTF-8/);
    assert.equal((await publish(agent, 'a', '', '--wait', '2h')).status, 2);
    // Nobody takes it: it is the agent's still.
    agent.config.mqtt = `${ADDRESS}:1`;
    await agent.stop();
    await agent.configure();
    agent.start();
    await agent.saw('mqtt.failed');
    const late = await publish(agent, 'fleet/{device}/up/heat', '1', '--wait', '1s');
    assert.equal(late.status, 1);
    assert.match(late.error, /has not taken it yet; it waits with the agent/);
    assert.equal((await status(agent)).waiting, 1);
  });

  it('says how the device is, and nothing else', async () => {
    const watcher = await watch('fleet/pub-4/up/status');
    await connected('pub-4', { 'telemetry-topic': 'fleet/{device}/up/status', 'telemetry-interval': '1s', 'telemetry-socket': undefined });
    for (let i = 0; i < 2; i++) {
      const said = JSON.parse((await watcher.message()).payload);
      assert.deepEqual(Object.keys(said), ['at', 'uptime_seconds', 'load', 'memory_kib', 'memory_available_kib']);
      assert.ok(Math.abs(Date.parse(said.at) - Date.now()) < 60000);
      assert.ok(said.uptime_seconds > 0 && said.memory_available_kib < said.memory_kib && said.load >= 0);
    }
    await watcher.disconnect();
  });

  it('goes on with a new certificate after each renewal', async () => {
    const agent = await connected('pub-5', { mqtt: `${host}:${broker.port}` });
    const watcher = await watch('fleet/pub-5/up/#');
    for (let i = 1; i <= 2; i++) {
      agent.signal('SIGUSR1');
      await agent.saw('device.confirmed', i);
      await agent.saw('mqtt.connected', i + 1);
      assert.equal((await publish(agent, 'fleet/{device}/up/heat', `${i}`)).status, 0);
      assert.equal((await watcher.message()).payload, `${i}`);
    }
    assert.equal(agent.events('mqtt.cut').length, 0, agent.log);
    await watcher.disconnect();
  });

  it('keeps messages while the broker is away', async () => {
    const agent = await connected('pub-6');
    await broker.kill();
    for (const name of ['a', 'b', 'c']) assert.equal((await publish(agent, `fleet/{device}/up/${name}`, name, '--retain')).status, 0);
    assert.match((await agent.saw('mqtt.failed'))[0], /hint="the broker could not be reached, or ended the connection"/);
    assert.equal((await status(agent)).waiting, 3);
    await broker.launch();
    await agent.saw('mqtt.connected', 2, 30000);
    await until('they are sent', async () => (await status(agent)).published === 3);
    const watcher = await watch('fleet/pub-6/up/#');
    const seen = [];
    for (let i = 0; i < 3; i++) seen.push((await watcher.message()).payload);
    assert.deepEqual(seen.sort(), ['a', 'b', 'c']);
    await watcher.disconnect();
  });

  it('is put out with a cut, stays away, and comes back once the hub lets it in', async () => {
    const agent = await connected('pub-7', { 'refused-retry': '1h' });
    await move('quarantine', 'pub-7');
    const [line] = await agent.saw('mqtt.cut');
    assert.match(line, / error mqtt\.cut .*reason=152 retry_ms=\d{7}/);
    assert.equal((await publish(agent, 'fleet/{device}/up/heat', 'late', '--retain')).status, 0);
    await agent.saw('device.waiting');
    await agent.saw('device.waiting', agent.events('device.waiting').length + 2);
    assert.equal(agent.events('mqtt.connected').length, 1);
    assert.equal(agent.events('mqtt.refused').length, 0, 'it has not come again');
    await move('release', 'pub-7');
    await agent.saw('mqtt.connected', 2, 30000);
    await until('it has sent what waited', async () => (await status(agent)).published === 1);
  });

  it('gives its messages to nobody but a broker of its fleet', async () => {
    const agent = await make('pub-8', { mqtt: `localhost:${hub.ports.device}` });
    agent.start();
    // A hub is no broker.
    assert.match((await agent.saw('mqtt.failed'))[0], /did not prove that it is a broker of this fleet/);
    await agent.stop();
    const requests = async () => (await hub.must(200, 'GET', '/v1/hub')).listeners.find(({ name }) => name === 'device').requests;
    // One whose certificate another authority made, and a name that the broker's certificate has not.
    const key = await newKey(join(hub.folder, 'thief.key'));
    await openssl(['req', '-x509', '-key', key, '-subj', '/CN=127.0.0.2', '-days', '9', '-addext', 'subjectAltName=IP:127.0.0.2,URI:spiffe://fleet.example/default/device/mqtt-1', '-out', join(hub.folder, 'thief.pem')]);
    let heard = '';
    const serve = async (identity) => {
      const server = tls.createServer(identity, (socket) => socket.on('error', () => {}).on('data', (data) => { heard += data; }));
      server.on('tlsClientError', () => {});
      await new Promise((done) => server.listen(0, ADDRESS, done));
      return server;
    };
    const thief = await serve({ key: await readFile(key), cert: await readFile(join(hub.folder, 'thief.pem')) });
    // Nor is every device of the fleet a broker.
    const { watcher } = broker.devices;
    const issuing = await readFile(join(hub.state, 'signer', 'issuing.pem'));
    const device = await serve({ key: watcher.keyPem, cert: Buffer.concat([watcher.pem, issuing]) });
    for (const where of [`${ADDRESS}:${thief.address().port}`, `${ADDRESS}:${device.address().port}`, `127.0.0.3:${broker.port}`]) {
      agent.config.mqtt = where;
      await agent.configure();
      agent.log = '';
      agent.start();
      const [line] = await agent.saw('mqtt.failed');
      assert.match(line, /did not prove that it is a broker of this fleet of that name/);
      await agent.stop();
    }
    thief.close();
    device.close();
    assert.equal(heard, '');
    assert.ok(await requests() > 0);
  });

  it('is held up by no broker that stalls, nor kept from its broker by a hub that does', async () => {
    const stalled = net.createServer((socket) => socket.on('error', () => {})).listen(0, ADDRESS);
    await new Promise((done) => stalled.once('listening', done));
    const agent = (await make('pub-9', { mqtt: `${ADDRESS}:${stalled.address().port}` })).start();
    await agent.saw('device.checked_in', 4);
    agent.signal('SIGUSR1');
    await agent.saw('device.confirmed');
    assert.equal(agent.events('mqtt.connected').length, 0);
    await agent.stop();
    stalled.close();
    const other = await connected('pub-10');
    const watcher = await watch('fleet/pub-10/up/#');
    hub.process.kill('SIGSTOP');
    try {
      const seen = other.events('device.checked_in').length;
      for (let i = 0; i < 5; i++) {
        assert.equal((await publish(other, 'fleet/{device}/up/heat', `${i}`)).status, 0);
        assert.equal((await watcher.message()).payload, `${i}`);
        await new Promise((done) => setTimeout(done, 500));
      }
      assert.ok(other.events('device.checked_in').length <= seen + 1, 'the hub does stand still');
    } finally {
      hub.process.kill('SIGCONT');
    }
    await watcher.disconnect();
  });

  it('takes no configuration that cannot work', async () => {
    const agent = await make('pub-11');
    for (const [wrong, why] of [
      [{ mqtt: 'nowhere' }, /'mqtt' is host:port/],
      [{ mqtt: undefined }, /go with 'mqtt'/],
      [{ 'telemetry-socket-mode': '0777' }, /0600, 0660 or 0666/],
      [{ 'telemetry-topic': 'a/#' }, /'telemetry-topic': a topic is/],
      [{ 'telemetry-topic': '{fleet}' }, /'telemetry-topic': in braces/],
      [{ 'telemetry-rate': '-1' }, /telemetry-rate/],
      [{ 'mqtt-insecure': 'true' }, /unknown key/],
    ]) {
      const before = { ...agent.config };
      Object.assign(agent.config, wrong);
      await agent.configure();
      agent.log = '';
      assert.equal((await agent.once()).code, 2, JSON.stringify(wrong));
      assert.match(agent.log, why);
      agent.config = before;
    }
    // What lies in the socket's place is not removed, unless it is one that nobody listens at.
    await agent.configure();
    await writeFile(join(agent.folder, 'telemetry'), 'a file');
    agent.start();
    assert.equal((await agent.process.ended).code, 1);
    assert.match(agent.log, /something else is there/);
    assert.equal(await readFile(join(agent.folder, 'telemetry'), 'utf8'), 'a file');
    delete agent.process;
  });
});
