// A real hub and a real Mosquitto with the plugin: devices enrol at the one, speak through the other, and are cut off.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hub, enrolledDevice, until } from './lib/hub.mjs';
import { Mosquitto } from './lib/mosquitto.mjs';

const NOT_AUTHORIZED = 135, ADMINISTRATIVE = 152; // MQTT 5.0 section 2.4

const POLICY = `holdfast: 1
fleet: fleet.example
models:
  thermo:
    identity: {maker: acme}
    limits: {messages: 6000/min, connects: 6000/min}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
    password: true
`;

describe('a hub with a Mosquitto', { timeout: 300000 }, () => {
  let hub, broker;
  const known = (serial) => until(`the broker lets ${serial} in`, async () => (await broker.tryConnect(serial)) === 0, 30000);
  const complete = (serial) => until(`the cut of ${serial} is complete`, async () => {
    const answer = await hub.api('GET', `/v1/devices/${serial}/cut`);
    return answer.body.status === 'complete' && answer.body;
  }, 30000);
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: POLICY });
    broker = await Mosquitto.beside(hub);
    for (const serial of ['t-1', 't-2', 't-3']) await broker.adopt(await enrolledDevice(hub, serial));
  });
  after(async () => {
    await broker?.stop();
    await hub?.stop();
  });

  it('lets a device in from the moment it has enrolled', async () => {
    await known('t-1');
    const client = await broker.connect('t-1');
    assert.deepEqual(await client.subscribe('#', 'fleet/t-1/down/#'), [NOT_AUTHORIZED, 1]);
    await client.disconnect();
    const connects = await until('its first connect is in the ledger', async () => {
      const found = (await hub.ledger()).filter(({ act, subject }) => /connect/.test(act) && subject === 'device/t-1');
      return found.length > 0 && found;
    }, 30000);
    assert.equal(connects.length, 1, 'once, however often it comes');
  });

  it('follows the policy as soon as another is applied', async () => {
    const client = await broker.connect('t-1');
    assert.deepEqual(await client.subscribe('all/news'), [NOT_AUTHORIZED]);
    await hub.must(201, 'POST', '/v1/policies', { from: 1, text: POLICY.replace('"fleet/{device}/down/#"', '"fleet/{device}/down/#", "all/#"') });
    await until('it may subscribe', async () => (await client.subscribe('all/news'))[0] === 1, 30000);
    await client.disconnect();
  });

  it('has a cut confirmed by the broker that ended the session', async () => {
    await known('t-2');
    const client = await broker.connect('t-2', { clean: false, expiry: 3600 });
    await client.subscribe('fleet/t-2/down/#');
    const sent = performance.now();
    await hub.must(200, 'POST', '/v1/devices/t-2/quarantine', { reason: 'a test' });
    const end = await client.next(14);
    assert.equal(end?.body[0], ADMINISTRATIVE);
    const cut = await complete('t-2');
    const leg = cut.legs.find((l) => l.leg === 'broker/mqtt-1');
    assert.equal(leg.status, 'confirmed');
    assert.match(leg.detail, /session ended with 152 .* 0 subscriptions and 0 queued/);
    assert.ok(end.at - sent < 30000);
    assert.equal(await broker.tryConnect('t-2'), NOT_AUTHORIZED);
    await hub.must(200, 'POST', '/v1/devices/t-2/release', { reason: 'a test' });
    await known('t-2');
    assert.ok(!(await broker.connect('t-2', { clean: false, expiry: 3600 })).present, 'nothing of before is left');
  });

  it('has a cut confirmed where there was no session', async () => {
    await hub.must(200, 'POST', '/v1/devices/t-3/revoke', { reason: 'a test' });
    const leg = (await complete('t-3')).legs.find((l) => l.leg === 'broker/mqtt-1');
    assert.match(leg.detail, /no session/);
  });

  it('lets the former password work until the new one is used, and ends it everywhere then', async () => {
    const second = await Mosquitto.beside(hub, 'mqtt-2', { config: { passwords: 'true' }, certificates: false });
    try {
      const passwordOf = async () => (await hub.must(201, 'POST', '/v1/devices/meter/password')).password;
      const shown = async () => (await hub.must(200, 'GET', '/v1/devices/meter')).password;
      const login = (password, id = 'meter', from = '127.0.1.1') => second.tryConnect('meter', { identity: {}, id, username: 'meter', password, from });
      const used = () => until('its use is in the ledger', async () => (await shown()).used_at, 30000);
      await hub.claims('meter');
      const first = await passwordOf();
      await until('the broker lets it in', async () => (await login(first)) === 0, 30000);
      await used();
      const next = await passwordOf();
      assert.ok((await shown()).previous_until, 'the former one works');
      const known = (text, from) => until('it is known', async () => (await login(text, 'meter:b', from)) === 0, 30000);
      const old = await second.connect('meter', { identity: {}, username: 'meter', password: first, from: '127.0.1.1' });
      await known(next, '127.0.1.2');
      await used();
      assert.equal((await shown()).previous_until, undefined);
      assert.equal((await old.next(14))?.body[0], ADMINISTRATIVE, 'a session that came by it is ended');
      assert.equal(await login(first, 'meter', '127.0.1.3'), NOT_AUTHORIZED);
      assert.equal(await login(next), 0);
      const acts = (await hub.ledger()).filter(({ act, subject }) => act === 'device.password-use' && subject === 'device/meter');
      assert.equal(acts.length, 2, 'one for each, however often it was shown');
    } finally {
      await second.stop();
      await hub.must(204, 'DELETE', '/v1/brokers/mqtt-2');
    }
  });

  it('says how its broker is', async () => {
    const shown = await until('it is written down', async () => {
      const { brokers: [found] } = await hub.must(200, 'GET', '/v1/brokers');
      return found.seen?.software && found;
    }, 90000);
    assert.equal(shown.name, 'mqtt-1');
    assert.match(shown.seen.software, /^mosquitto 2/);
    assert.equal(shown.seen.rules, 2);
  });

  it('catches up with a cut that came while the broker was off', async () => {
    await known('t-1');
    await broker.kill('SIGKILL');
    await hub.must(200, 'POST', '/v1/devices/t-1/quarantine', { reason: 'a test' });
    await broker.launch({ ready: false });
    await until('it listens', () => broker.tryConnect('t-1').then(() => true, () => false), 30000);
    assert.equal(await broker.tryConnect('t-1'), NOT_AUTHORIZED);
    const leg = (await complete('t-1')).legs.find((l) => l.leg === 'broker/mqtt-1');
    assert.equal(leg.status, 'confirmed');
  });
});
