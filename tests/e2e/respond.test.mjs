// Devices that misbehave are cut off by the hub itself, as the policy says; beyond its cap they wait for a person.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { join } from 'node:path';
import { Clock } from './lib/clock.mjs';
import { Hub, as, csrBody, curl, enrolledDevice, keepCertificate, newKey, until } from './lib/hub.mjs';
import { Fleet } from './lib/fleet.mjs';
import { Mosquitto } from './lib/mosquitto.mjs';
import { broker, report } from './lib/broker.mjs';
import { misfits, operation } from './lib/contract.mjs';
import { connect } from './lib/wire.mjs';

const NOT_AUTHORIZED = 135, ADMINISTRATIVE = 152; // MQTT 5.0 section 2.4

const policy = (respond, perHour) => `holdfast: 1
fleet: fleet.example
cuts: {automatic-per-hour: ${perHour}}
models:
  thermo:
    identity: {maker: acme}
    limits: {messages: 60/min, connects: 6000/min}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
    respond: ${respond}
`;

const must = async (hub, ...words) => {
  const { code, stdout, stderr } = await hub.cli(...words);
  assert.equal(code, 0, `${words.join(' ')}: ${stdout}${stderr}`);
  return stdout;
};
const show = (hub, id) => hub.must(200, 'GET', `/v1/devices/${id}`);
const stateOf = async (hub, id) => (await show(hub, id)).state;
const waiting = async (hub) => (await hub.must(200, 'GET', '/v1/cuts/waiting')).waiting;
const entries = async (hub, id) => (await hub.ledger()).filter(({ act, subject }) => subject === `device/${id}` && /quarantine|cut-(waiting|dismiss)/.test(act));
const complete = (hub, id) => until(`the cut of ${id} is complete`, async () => {
  const { body } = await hub.api('GET', `/v1/devices/${id}/cut`);
  return body.status === 'complete' && body;
}, 60000);

describe('a hub that responds, with a Mosquitto', { timeout: 300000 }, () => {
  let hub, mosquitto;
  const session = async (id) => {
    await until(`the broker lets ${id} in`, async () => (await mosquitto.tryConnect(id)) === 0, 60000);
    return mosquitto.connect(id);
  };
  const askForAll = async (client, times) => {
    for (let i = 0; i < times; i++) assert.deepEqual(await client.subscribe('#'), [NOT_AUTHORIZED]);
  };
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: policy('{topics: 10/min, floods: 200/min}', 1) });
    mosquitto = await Mosquitto.beside(hub);
    for (const id of ['t-1', 't-2', 't-3']) await mosquitto.adopt(await enrolledDevice(hub, id));
  });
  after(async () => {
    await mosquitto?.stop();
    await hub?.stop();
  });

  it('cuts a device off that asks for what all others say', async () => {
    const client = await session('t-1'), bystander = await session('t-3');
    await askForAll(bystander, 3);
    await askForAll(client, 12);
    const end = await client.next(14, 60000);
    assert.equal(end?.body[0], ADMINISTRATIVE);
    const cut = await complete(hub, 't-1');
    assert.deepEqual(cut.legs.map(({ leg, status }) => [leg, status]), [['api/1', 'confirmed'], ['broker/mqtt-1', 'confirmed']]);
    assert.match(cut.legs[1].detail, /session ended with 152/);
    const device = await show(hub, 't-1');
    assert.equal(device.state, 'quarantined');
    assert.match(device.reason, /^1\d refused for their topics within a minute, last at broker mqtt-1; the policy cuts off at 10$/);
    const [entry] = await entries(hub, 't-1');
    assert.deepEqual([entry.act, entry.actor, entry.data.to], ['device.quarantine', 'policy', 'quarantined']);
    assert.equal(await mosquitto.tryConnect('t-1'), NOT_AUTHORIZED);
    assert.match(hub.log, / device\.cut_automatic .*device=t-1 .*kind=topics/);
    assert.equal(await stateOf(hub, 't-3'), 'trusted');
    await bystander.disconnect();
  });

  it('asks a person beyond the cap, who cuts', async () => {
    const client = await session('t-2');
    await askForAll(client, 12);
    const [waits] = await until('it waits', async () => {
      const found = await waiting(hub);
      return found.length > 0 && found;
    }, 60000);
    assert.deepEqual([waits.device, waits.kind], ['t-2', 'topics']);
    await askForAll(client, 1);
    assert.equal(await stateOf(hub, 't-2'), 'trusted', 'and is served until somebody says so');
    assert.match(await must(hub, 'device', 'cuts', '--waiting'), /t-2 +topics +.* refused for their topics/);
    assert.match(await must(hub, 'device', 'show', 't-2'), /cut waits +1\d refused.*\n +since .*\n +next step +holdfast device quarantine/);
    assert.equal((await hub.metrics()).get('holdfast_cuts_waiting'), 1);
    await must(hub, 'device', 'quarantine', 't-2', '--reason', 'the line was not tested');
    assert.equal((await client.next(14, 60000))?.body[0], ADMINISTRATIVE);
    await complete(hub, 't-2');
    assert.deepEqual(await waiting(hub), []);
    assert.equal((await hub.metrics()).get('holdfast_cuts_waiting'), 0);
    assert.deepEqual((await entries(hub, 't-2')).map(({ act, actor }) => [act, actor.replace(/:.*/, '')]),
                     [['device.cut-waiting', 'policy'], ['device.quarantine', 'local']]);
  });

  it('counts floods by themselves', async () => {
    const client = await session('t-3');
    for (let i = 0; i < 300; i++) await client.publish('fleet/t-3/up/t', 'x').catch(() => {});
    const [waits] = await until('it waits', async () => {
      const found = await waiting(hub);
      return found.length > 0 && found;
    }, 60000);
    assert.deepEqual([waits.device, waits.kind], ['t-3', 'floods']);
    assert.match(waits.reason, /refused as too much within a minute, last at broker mqtt-1; the policy cuts off at 200/);
    client.drop();
  });
});

describe('what a broker may say', { timeout: 120000 }, () => {
  let hub, one, two, devices;
  const ids = ['d-1', 'd-2', 'd-3', 'd-4'];
  const refusals = (...all) => report(hub, one, { refusals: all.map(([source, kind, count]) => ({ source, kind, count })) });
  const took = async (...all) => assert.equal((await refusals(...all)).status, 204);
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: policy('{topics: 10/min, floods: 200/min}', 2) });
    one = await broker(hub, 'mqtt-1');
    two = await broker(hub, 'mqtt-2');
    devices = [];
    for (const id of ids) devices.push(await enrolledDevice(hub, id));
    await enrolledDevice(hub, 'other'); // as brokers name those that they have no room for
    await hub.claims('expected-1');
  });
  after(() => hub?.stop());

  it('cuts nobody off by what a stranger could bring about', async () => {
    const strange = ['client-id', 'unknown-certificate', 'state', 'form', 'password'];
    await took(...strange.map((kind) => ['d-1', kind, 4000000000]));
    await took(['192.0.2.1', 'topic', 4000000000], ['other', 'topic', 4000000000], ['nobody', 'rate', 4000000000], ['expected-1', 'topic', 4000000000]);
    for (const id of ids) assert.equal(await stateOf(hub, id), 'trusted');
    assert.deepEqual([await stateOf(hub, 'other'), await stateOf(hub, 'expected-1')], ['trusted', 'expected']);
    assert.deepEqual(await waiting(hub), []);
  });

  it('cuts no broker off, itself neither', async () => {
    await took(['mqtt-1', 'topic', 4000000000], ['mqtt-2', 'rate', 4000000000]);
    assert.equal((await report(hub, two, {})).status, 204);
    assert.equal(await stateOf(hub, 'mqtt-1'), 'trusted');
  });

  it('is no more than so many an hour, whatever it says, across a restart', async () => {
    const wire = await connect(hub, 'device', { device: devices[0] });
    assert.equal((await wire.request('GET', '/v1/device/self')).status, 200);
    await took(['d-1', 'topic', 6], ['d-1', 'payload', 100]);
    assert.equal(await stateOf(hub, 'd-1'), 'trusted', 'each kind by itself');
    await took(['d-1', 'topic', 4]);
    assert.ok(await wire.endsWithin(5000));
    await until('this hub says that it closed it', async () => {
      const [leg] = (await hub.must(200, 'GET', '/v1/devices/d-1/cut')).legs;
      return leg.leg === 'api/1' && leg.detail === 'connections closed: 1';
    });
    await hub.restart();
    await took(...ids.map((id) => [id, 'rate', 4000000000]));
    await until('all are decided about', async () => (await waiting(hub)).length === 2);
    assert.deepEqual(await Promise.all(ids.map((id) => stateOf(hub, id))), ['quarantined', 'quarantined', 'trusted', 'trusted']);
    assert.deepEqual(misfits({ waiting: await waiting(hub) }, operation('cut_waiting_list').responses[200].content['application/json'].schema), []);
    const { waiting: [first], next } = await hub.must(200, 'GET', '/v1/cuts/waiting?limit=1');
    assert.deepEqual([first.device, next], ['d-3', 'd-3']);
    const acts = await hub.acts();
    for (let i = 0; i < 5; i++) await took(...ids.map((id) => [id, 'topic', 4000000000]));
    assert.equal(await hub.acts(), acts, 'nothing is written while it waits');
  });

  it('is dismissed by a person, and may be said again', async () => {
    assert.match((await hub.cli('device', 'dismiss', 'd-3', '--reason', 'it was us')).stderr, /No cut of d-3 waits any more; it is trusted/);
    assert.deepEqual((await waiting(hub)).map(({ device }) => device), ['d-4']);
    const again = await hub.cli('device', 'dismiss', 'd-3', '--reason', 'x');
    assert.match(again.stderr, /no cut of 'd-3' waits for a person/);
    assert.notEqual(again.code, 0);
    assert.equal((await entries(hub, 'd-3')).at(-1).act, 'device.cut-dismiss');
    await took(['d-3', 'topic', 10]);
    await until('it waits anew', async () => (await waiting(hub)).length === 2);
    await hub.cli('device', 'revoke', 'd-3', '--reason', 'x', '--yes', '--wait', '1s'); // which no broker confirms
    assert.equal(await stateOf(hub, 'd-3'), 'revoked');
    assert.deepEqual((await waiting(hub)).map(({ device }) => device), ['d-4']);
    assert.match((await hub.cli('device', 'cuts', '--waiting', '--open')).stderr, /not both/);
  });

  it('is spread over the time that it was gathered in', async () => {
    const shown = await show(hub, 'd-4');
    assert.equal(shown.cut_waiting.kind, 'floods');
    const dismissed = await hub.must(200, 'POST', '/v1/devices/d-4/dismiss', { reason: 'well' });
    for (const device of [shown, dismissed]) assert.deepEqual(misfits(device, operation('device_dismiss').responses[200].content['application/json'].schema), []);
    assert.equal(dismissed.cut_waiting, undefined);
    assert.equal((await report(hub, one, { refused_seconds: 600, refusals: [{ source: 'd-4', kind: 'topic', count: 99 }] })).status, 204);
    assert.deepEqual(await waiting(hub), []);
    assert.equal((await report(hub, one, { refused_seconds: 600, refusals: [{ source: 'd-4', kind: 'topic', count: 100 }] })).status, 204);
    await until('it waits', async () => (await waiting(hub)).length === 1);
  });
});

describe('tenants of a hub that responds', { timeout: 120000 }, () => {
  let hub, cafe, wire;
  before(async () => {
    hub = await Hub.start();
    cafe = await hub.in('cafe');
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: `${policy('{topics: 10/min}', 1)}tenants:\n  cafe: {models: [thermo]}\n` });
    for (const tenant of [hub, cafe]) await tenant.must(201, 'POST', '/v1/manifests', { id: 'batch', model: 'thermo', owner: 'acme' });
    for (const id of ['t-1', 't-2']) for (const tenant of [hub, cafe]) await enrolledDevice(tenant, id);
    wire = await connect(hub, 'device', { device: await enrolledDevice(cafe, 't-3') });
    assert.equal((await wire.request('GET', '/v1/device/self')).status, 200);
    await enrolledDevice(hub, 'alone');
  });
  after(() => hub?.stop());

  it('are not touched by what a broker of another says, and have a cap each', async () => {
    const theirs = await broker(cafe, 'mqtt-1');
    const say = async (...ids) => assert.equal((await report(hub, theirs, { refusals: ids.map((source) => ({ source, kind: 'topic', count: 4000000000 })) })).status, 204);
    await say('t-3');
    assert.ok(await wire.endsWithin(5000), 'live connections go, as with any cut');
    assert.equal(await stateOf(cafe, 't-3'), 'quarantined');
    await say('t-1', 'alone');
    await until('one waits', async () => (await waiting(cafe)).length === 1);
    assert.deepEqual([(await waiting(cafe))[0].device, await waiting(hub)], ['t-1', []]);
    for (const id of ['t-1', 'alone']) assert.equal(await stateOf(hub, id), 'trusted');
    assert.equal((await hub.api('POST', '/v1/devices/t-1/dismiss', { reason: 'not ours' })).body.code, 'cut-not-waiting');
    const ours = await broker(hub, 'mqtt-1');
    assert.equal((await report(hub, ours, { refusals: [{ source: 't-1', kind: 'topic', count: 10 }] })).status, 204);
    await until('it is cut', async () => (await stateOf(hub, 't-1')) === 'quarantined');
    assert.equal(await stateOf(cafe, 't-1'), 'trusted');
    assert.equal((await waiting(cafe)).length, 1);
  });
});

describe('two hubs that respond', { timeout: 120000 }, () => {
  let fleet, a, b;
  before(async () => {
    fleet = await Fleet.start(2);
    [a, b] = fleet.hubs;
    await a.factory();
    await a.must(201, 'POST', '/v1/policies', { from: 0, text: policy('{topics: 10/min}', 3) });
    await until('the other has the policy', async () => (await b.api('GET', '/v1/policy')).body.number === 1);
  });
  after(() => fleet?.stop());

  it('keep to one cap together', async () => {
    const one = await broker(a, 'mqtt-1');
    const ids = Array.from({ length: 8 }, (_, i) => `f-${i}`);
    const wires = [];
    for (const id of ids) {
      const device = await enrolledDevice(a, id);
      const wire = await connect(id < 'f-4' ? b : a, 'device', { device });
      assert.equal((await wire.request('GET', '/v1/device/self')).status, 200);
      wires.push(wire);
    }
    const told = await Promise.all(ids.map((id, i) => report(i % 2 === 0 ? a : b, one, { refusals: [{ source: id, kind: 'topic', count: 10 }] })));
    assert.deepEqual(told.map(({ status }) => status), ids.map(() => 204));
    await until('all are decided about', async () => (await waiting(b)).length === 5);
    assert.deepEqual(await waiting(a), await waiting(b));
    const states = await Promise.all(ids.map((id) => stateOf(a, id)));
    assert.equal(states.filter((state) => state === 'quarantined').length, 3);
    for (let i = 0; i < ids.length; i++) {
      if (states[i] === 'quarantined') assert.ok(await wires[i].endsWithin(15000), `${ids[i]} is cut off on whichever hub it is`);
      else wires[i].destroy();
    }
  });
});

describe('a copy of an identity', { timeout: 120000 }, () => {
  let hub, clock;
  before(async () => {
    hub = await Hub.start({}, {
      prepare: async (made) => {
        clock = await Clock.make(join(made.folder, 'clock'));
        made.options.env = made.options.cliEnv = clock.env;
      },
    });
    await hub.factory();
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: policy('{copies: true}', 20).replace('{maker: acme}', '{maker: acme, lifetime: 1h}') });
  });
  after(() => hub?.stop());

  it('is quarantined when a certificate that was replaced is shown', async () => {
    const first = await enrolledDevice(hub, 'c-1', { words: ['-k'] });
    const used = async (device) => {
      assert.equal((await as(hub, device, '/v1/device/self', ['-k'])).status, 200);
      await until('it is confirmed', async () => (await show(hub, 'c-1')).certificate.status === 'active');
    };
    const comeBack = async (key) =>
      curl(hub, 'bootstrap', '/.well-known/est/simplereenroll',
           ['-k', '--cert', first.certificate, '--key', first.key, '-H', 'Content-Type: application/pkcs10'], await csrBody(key, '/CN=c-1'));
    await used(first);
    await clock.set(2 * 3600);
    const key = await newKey(join(hub.folder, 'c-1-2.key'));
    const answer = await comeBack(key);
    assert.equal(answer.status, 200, JSON.stringify(answer.json));
    await used({ ...first, key, certificate: await keepCertificate(answer, join(hub.folder, 'c-1-2.crt')) });
    assert.equal(await stateOf(hub, 'c-1'), 'trusted');
    assert.equal((await comeBack(await newKey(join(hub.folder, 'thief.key')))).json.code, 'certificate-not-current');
    await until('it is quarantined', async () => (await stateOf(hub, 'c-1')) === 'quarantined');
    assert.match((await show(hub, 'c-1')).reason, /a certificate of it that was replaced was shown again/);
    const [entry] = await entries(hub, 'c-1');
    assert.deepEqual([entry.act, entry.actor, entry.data.keys], ['device.quarantine', 'policy', 'touched']);
    assert.match((await hub.cli('device', 'release', 'c-1', '--reason', 'x')).stderr, /key|readmit/);
  });
});
