// The plugin in a real Mosquitto: who is admitted, what they may do, and how a cut reaches them.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { until } from './lib/hub.mjs';
import { Mosquitto } from './lib/mosquitto.mjs';

const NOT_AUTHORIZED = 135, ADMINISTRATIVE = 152; // MQTT 5.0 section 2.4

const POLICY = `holdfast: 1
fleet: fleet.example
models:
  thermo:
    identity: {maker: acme}
    limits: {messages: 6000/min, subscriptions: 4, connects: 6000/min, payload: 1KiB, stale: 1h}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#", "all/#"]
  keeper:
    identity: {maker: acme}
    limits: {messages: 6000/min, connects: 6000/min}
    cut: {will: send, retained: keep, queue: keep}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
  watcher:
    identity: {maker: acme}
    limits: {messages: unlimited, bytes: unlimited, connects: 6000/min}
    publish: ["#"]
    subscribe: ["#"]
`;

describe('Mosquitto with the plugin', () => {
  let broker;
  before(async () => {
    broker = await Mosquitto.start({ policy: POLICY, devices: ['t-1', 't-2', { name: 'k-1', model: 'keeper' }, { name: 'w-1', model: 'watcher' }] });
  });
  after(() => broker?.stop());

  it('lets a device publish and subscribe on its own topics, with clients that others wrote', async () => {
    const waiting = broker.client('mosquitto_sub', 't-1', ['-t', 'fleet/t-1/down/#', '-C', '1', '-W', '10']);
    await until('it has subscribed', () => broker.log.includes('fleet/t-1/down/#'));
    const sent = await broker.client('mosquitto_pub', 'w-1', ['-t', 'fleet/t-1/down/set', '-m', '21', '-q', '1']);
    assert.equal(sent.status, 0, sent.error);
    assert.equal((await waiting).out, '21\n');
  });

  it('refuses others\' topics, and the whole fleet\'s', async () => {
    const client = await broker.connect('t-1');
    assert.deepEqual(await client.subscribe('#', '+/#', 'fleet/+/down/#', 'fleet/t-2/down/#', '$SYS/#', '$share/g/fleet/t-2/down/#', '$CONTROL/#', 'fleet/t-1/down/x'),
      [...Array(7).fill(NOT_AUTHORIZED), 1]);
    assert.equal(await client.publish('fleet/t-2/up/x', '1'), NOT_AUTHORIZED);
    assert.equal(await client.publish('fleet/t-1/up/x', '1'), 16, 'nobody listens, but it may');
    await client.disconnect();
  });

  it('takes devices by their certificate, and no other', async () => {
    const stranger = await broker.ca.issue('stranger');
    assert.equal(await broker.tryConnect('t-1', { identity: stranger }), NOT_AUTHORIZED, 'of the same authority, and unknown');
    assert.equal(await broker.tryConnect('t-2', { identity: broker.devices['t-1'] }), NOT_AUTHORIZED, 'another\'s client id');
    assert.equal(await broker.tryConnect('t-1'), 0);
    assert.equal(await broker.tryConnect('t-1', { id: 't-1:tool' }), 0);
    assert.equal(await broker.tryConnect('t-1', { id: 't-10' }), NOT_AUTHORIZED);
    assert.equal(await broker.tryConnect('t-1', { id: '' }), NOT_AUTHORIZED);
    assert.equal(await broker.tryConnect('t-1', { id: 't-1:' + 'x'.repeat(65531) }), NOT_AUTHORIZED, '65,535 bytes');
    for (const id of [Buffer.from('t-1:\xff', 'latin1'), Buffer.from('t-1:\0')])
      assert.notEqual(await broker.tryConnect('t-1', { id }), 0);
    assert.equal(await broker.tryConnect('t-1', { id: 't-1', username: 'default/t-2', password: 'x' }), 0, 'what it calls itself does not count');
    await until('the hub hears of the stranger', () => broker.hub.refused('unknown-certificate').length > 0, 30000);
  });

  it('lets no device sit on the client id of another', async () => {
    await broker.addDevice('t-1:x');
    await until('it is known', async () => (await broker.tryConnect('t-1:x')) === 0);
    for (const id of ['t-1:x', 't-1:x:y']) assert.equal(await broker.tryConnect('t-1', { id }), NOT_AUTHORIZED);
    assert.equal(await broker.tryConnect('t-1', { id: 't-1:xy' }), 0);
    assert.equal(await broker.tryConnect('t-1:x', { id: 't-1:x:y' }), 0);
    assert.equal(await broker.tryConnect('t-1:x', { id: 't-1' }), NOT_AUTHORIZED);
  });

  it('lets nobody but itself speak to the plugin', async () => {
    const watcher = await broker.connect('w-1');
    assert.equal(await watcher.publish('$CONTROL/holdfast/v1', 'look'), NOT_AUTHORIZED);
    assert.equal(await broker.tryConnect('w-1', { username: '$holdfast', password: 'a'.repeat(64) }), NOT_AUTHORIZED);
    assert.equal(await broker.tryConnect('w-1', { identity: broker.identity, id: 'w-1' }), NOT_AUTHORIZED, 'not even with the broker\'s certificate');
    assert.equal(await broker.tryConnect('w-1', { identity: broker.identity, username: '$holdfast', password: 'a'.repeat(64) }), NOT_AUTHORIZED);
    await watcher.disconnect();
  });

  it('refuses topics with wildcards in the wrong place', async () => {
    for (const filter of ['fleet/t-1/down/#/x', 'fleet/t-1/down/x#', 'all/#/', '']) {
      const client = await broker.connect('t-1');
      const answer = await client.subscribe(filter);
      assert.ok(answer === undefined || answer[0] >= 0x80, `${filter}: ${answer}`);
      client.drop();
    }
    const client = await broker.connect('t-1');
    assert.notEqual(await client.publish('fleet/t-1/up/+', '1'), 0);
    client.drop();
    assert.equal(await broker.tryConnect('t-2'), 0, 'and others do not notice');
  });

  it('holds devices to their limits', async () => {
    const client = await broker.connect('t-1');
    assert.equal(await client.publish('fleet/t-1/up/x', Buffer.alloc(1025)), NOT_AUTHORIZED, 'payload');
    assert.deepEqual(await client.subscribe(...[1, 2, 3, 4, 5].map((n) => `fleet/t-1/down/${n}`)), [1, 1, 1, 1, NOT_AUTHORIZED]);
    assert.deepEqual(await client.subscribe('fleet/t-1/down/1'), [1], 'which it has already');
    await client.disconnect();
  });

  it('forgets what it allowed as soon as the device is another', async () => {
    const client = await broker.connect('t-1');
    broker.hub.set('t-1', { model: 'watcher' });
    await until('it may more', async () => (await client.publish('elsewhere', '1')) === 16);
    assert.equal(await client.publish('elsewhere', '1'), 16);
    broker.hub.set('t-1', { model: 'thermo' });
    await until('it may less', async () => (await client.publish('elsewhere', '1')) === NOT_AUTHORIZED);
    await client.disconnect();
  });

  it('ends the session of a device that is cut off, and tells the hub what it saw', async () => {
    const client = await broker.connect('t-2', { clean: false, expiry: 3600, will: { topic: 'fleet/t-2/up/will', payload: 'bye' } });
    const watcher = await broker.connect('w-1');
    await client.subscribe('fleet/t-2/down/#');
    await watcher.subscribe('fleet/t-2/up/#');
    assert.equal(await client.publish('fleet/t-2/up/state', 'kept', { retain: true }), 0);
    assert.equal((await watcher.message()).payload, 'kept');
    const at = broker.hub.set('t-2', { state: 'revoked', cut: true, certificates: [] });
    const end = await client.next(14);
    assert.equal(end?.body[0], ADMINISTRATIVE);
    const [ended] = await until('the hub is told', () => broker.hub.ended('t-2').length > 0 && broker.hub.ended('t-2'), 20000);
    assert.equal(ended.entry, at);
    assert.equal(ended.reason_code, ADMINISTRATIVE);
    assert.equal(ended.sessions, 1);
    assert.equal(ended.subscriptions, 0);
    assert.equal(ended.queued, 0);
    assert.equal(ended.retained_cleared, 1);
    assert.equal(await broker.tryConnect('t-2'), NOT_AUTHORIZED);
    const cleared = await watcher.message();
    assert.deepEqual([cleared.topic, cleared.payload], ['fleet/t-2/up/state', ''], 'what it had retained is taken back, and no last will was sent');
    await watcher.disconnect();
  });
});
