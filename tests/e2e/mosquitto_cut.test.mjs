// What a cut leaves of a device at its broker, and what a broker does while no hub answers, is killed, or is lied to.
import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import tls from 'node:tls';
import { sleep, until } from './lib/hub.mjs';
import { Mosquitto } from './lib/mosquitto.mjs';
import { PolicyKey } from './lib/feed.mjs';

const NOT_AUTHORIZED = 135, ADMINISTRATIVE = 152; // MQTT 5.0 section 2.4
const GRANTED = 0, NOBODY_LISTENS = 16;
const CUT = { state: 'quarantined', cut: true };
const FREE = { state: 'trusted', cut: false };

const policy = (extra = '') => `holdfast: 1
fleet: fleet.example
models:
  thermo:
    identity: {maker: acme}
    limits: {messages: 6000/min, connects: 6000/min}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
${extra}  keeper:
    identity: {maker: acme}
    limits: {messages: 6000/min, connects: 6000/min}
    cut: {will: send, retained: keep, queue: keep}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
  brief:
    identity: {maker: acme}
    limits: {messages: 10/min, connects: 6000/min, stale: 3s}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
  simple:
    identity: {maker: acme}
    password: true
    limits: {connects: 6000/min}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
  watcher:
    identity: {maker: acme}
    limits: {messages: unlimited, bytes: unlimited, connects: 6000/min}
    publish: ["#"]
    subscribe: ["#"]
`;
const POLICY = policy();

const told = (broker, device, at) =>
  until(`the hub is told of ${device}`, () => broker.hub.ended(device).find((e) => e.entry >= at), 30000);

describe('a cut at a broker', () => {
  let broker;
  before(async () => {
    broker = await Mosquitto.start({ policy: POLICY, devices: ['t-1', 't-2', 't-3', { name: 'k-1', model: 'keeper' }, { name: 'w-1', model: 'watcher' }] });
  });
  after(() => broker?.stop());

  it('discards the session of a device that is away, with its queue', async () => {
    const client = await broker.connect('t-1', { clean: false, expiry: 3600 });
    await client.subscribe('fleet/t-1/down/#');
    await client.disconnect();
    const watcher = await broker.connect('w-1');
    assert.equal(await watcher.publish('fleet/t-1/down/set', 'queued'), GRANTED, 'for a subscription that is kept');
    const again = await broker.connect('t-1', { clean: false, expiry: 3600 });
    assert.ok(again.present);
    assert.equal((await again.message()).payload, 'queued');
    await again.disconnect();
    assert.equal(await watcher.publish('fleet/t-1/down/set', 'for nobody'), GRANTED);
    const ended = await told(broker, 't-1', broker.hub.set('t-1', CUT));
    assert.deepEqual([ended.sessions, ended.subscriptions, ended.queued], [0, 0, 0]);
    assert.equal(await watcher.publish('fleet/t-1/down/set', 'x'), NOBODY_LISTENS);
    await watcher.disconnect();
    broker.hub.set('t-1', FREE);
    await until('it is let in again', async () => (await broker.tryConnect('t-1:x', { identity: broker.devices['t-1'] })) === 0);
    const back = await broker.connect('t-1', { clean: false, expiry: 3600 });
    assert.ok(!back.present, 'and finds nothing of before');
    await back.disconnect();
  });

  it('finds every client id that a device has used', async () => {
    const ids = ['t-2', 't-2:a', 't-2:b'];
    const clients = [];
    for (const id of ids) clients.push(await broker.connect('t-2', { id, clean: false, expiry: 3600 }));
    for (const client of clients) await client.subscribe('fleet/t-2/down/#');
    await clients[2].disconnect();
    const ended = await told(broker, 't-2', broker.hub.set('t-2', CUT));
    assert.equal(ended.sessions, 2);
    for (const client of clients.slice(0, 2)) assert.equal((await client.next(14))?.body[0], ADMINISTRATIVE);
    const watcher = await broker.connect('w-1');
    assert.equal(await watcher.publish('fleet/t-2/down/x', '1'), NOBODY_LISTENS);
    await watcher.disconnect();
  });

  it('has the oldest client id of a device make room for a ninth', async () => {
    for (let n = 0; n < 12; n++) assert.equal(await broker.tryConnect('t-3', { id: `t-3:${n}`, clean: false, expiry: 3600 }), 0);
    const clients = [];
    for (let n = 20; n < 28; n++) clients.push(await broker.connect('t-3', { id: `t-3:${n}` }));
    assert.equal(await broker.tryConnect('t-3', { id: 't-3:30' }), NOT_AUTHORIZED, 'eight at a time');
    for (const client of clients) await client.disconnect();
    assert.ok((await until('the status says so', async () => {
      const status = await broker.status();
      return status.refusals['client-id'] > 0 && status;
    })).remembered >= 8);
  });

  it('sends the last will and keeps queue and retained messages where the policy says so', async () => {
    const watcher = await broker.connect('w-1');
    await watcher.subscribe('fleet/k-1/up/#');
    const client = await broker.connect('k-1', { clean: false, expiry: 3600, will: { topic: 'fleet/k-1/up/will', payload: 'bye' } });
    await client.subscribe('fleet/k-1/down/#');
    await client.publish('fleet/k-1/up/state', 'kept', { retain: true });
    assert.equal((await watcher.message()).payload, 'kept');
    const ended = await told(broker, 'k-1', broker.hub.set('k-1', CUT));
    assert.equal(ended.sessions, 1);
    assert.equal(ended.retained_cleared, 0);
    assert.equal((await watcher.message()).payload, 'bye');
    assert.equal(await watcher.publish('fleet/k-1/down/x', 'while it was cut'), GRANTED);
    broker.hub.set('k-1', FREE);
    await until('it is let in again', async () => (await broker.tryConnect('k-1', { id: 'k-1:probe' })) === 0);
    const back = await broker.connect('k-1', { clean: false, expiry: 3600 });
    assert.ok(back.present, 'its session waited for it');
    assert.equal(await back.message(500), undefined, 'but nothing came in while it was cut');
    await watcher.publish('fleet/k-1/down/x', 'and now');
    assert.equal((await back.message()).payload, 'and now');
    await back.disconnect();
    await told(broker, 'k-1', broker.hub.set('k-1', { state: 'revoked', cut: true, certificates: [] }));
    assert.equal(await watcher.publish('fleet/k-1/down/x', '1'), NOBODY_LISTENS, 'one that is revoked does not come back');
    await watcher.disconnect();
  });

  it('is carried out again, and told again, when the hub names it again', async () => {
    const at = broker.hub.set('t-2', CUT);
    assert.equal((await told(broker, 't-2', at)).sessions, 0);
  });

  it('takes a certificate that was replaced from its live session', async () => {
    const client = await broker.connect('t-1');
    const next = await broker.ca.issue('t-1-next');
    broker.hub.set('t-1', { certificates: [{ sha256: next.sha256, notAfter: next.notAfter }] });
    assert.equal((await client.next(14))?.body[0], ADMINISTRATIVE);
    assert.equal(await broker.tryConnect('t-1'), NOT_AUTHORIZED);
    assert.equal(await broker.tryConnect('t-1', { identity: next }), 0);
    broker.devices['t-1'] = next;
  });

  it('follows new rules, and no others', async () => {
    const say = (what) => until(`it says ${what}`, () => broker.log.includes(what));
    const client = await broker.connect('t-1');
    assert.deepEqual(await client.subscribe('all/news'), [NOT_AUTHORIZED]);
    const stranger = new PolicyKey('fleet.example/policy', randomBytes(32));
    broker.hub.setRules(2, broker.makeRules(2, POLICY, stranger));
    await say('rules that a hub sent are not taken');
    broker.hub.setRules(3, broker.makeRules(3, POLICY).subarray(0, -1));
    await sleep(1500);
    assert.equal((await broker.status()).rules, 1);
    assert.equal(await client.publish('fleet/t-1/up/x', '1'), NOBODY_LISTENS, 'the old ones stay in force');
    broker.hub.setRules(4, broker.makeRules(4, POLICY.replace('"fleet/{device}/down/#"]', '"fleet/{device}/down/#", "all/#"]')));
    await say('rules version 4');
    assert.deepEqual(await client.subscribe('all/news'), [1]);
    broker.hub.setRules(5, broker.makeRules(5, policy('    reach: {trusted: [enrolment, api]}\n'), broker.otherKey));
    assert.equal((await client.next(14))?.body[0], ADMINISTRATIVE, 'whom they let in no more is gone');
    assert.equal(await broker.tryConnect('t-1'), NOT_AUTHORIZED);
  });

  it('takes the table anew where its position is not known, and forgets who is not in it', async () => {
    const client = await broker.connect('w-1');
    broker.hub.devices.delete('w-1');
    broker.hub.first = broker.hub.position + 2;
    broker.hub.set('other', { model: 'thermo' });
    await until('the table is taken', () => broker.log.includes('the table is taken anew'));
    assert.equal((await client.next(14))?.body[0], ADMINISTRATIVE);
    assert.equal(await broker.tryConnect('w-1'), NOT_AUTHORIZED);
  });
});

describe('a broker without a hub', () => {
  let broker;
  before(async () => {
    broker = await Mosquitto.start({ policy: POLICY, devices: ['t-1', 't-2', 't-3', { name: 'b-1', model: 'brief' }] });
  });
  after(() => broker?.stop());

  it('ends sessions that flood it', async () => {
    const client = await broker.connect('b-1');
    const answers = [];
    for (let n = 0; n < 15; n++) answers.push(await client.publish('fleet/b-1/up/x', '1'));
    assert.deepEqual(answers, [...Array(10).fill(NOBODY_LISTENS), ...Array(5).fill(NOT_AUTHORIZED)]);
    for (let n = 0; n < 100; n++) client.send(Buffer.from('\x30\x0f\x00\x0cfleet/b-1/up\x00', 'latin1'));
    assert.equal((await client.next(14))?.body[0], ADMINISTRATIVE);
  });

  it('goes on with those it knows for as long as their models may, and says how stale it is', async () => {
    const lasting = await broker.connect('t-1'), brief = await broker.connect('b-1');
    await broker.hub.leave();
    assert.equal((await brief.next(14, 60000))?.body[0], ADMINISTRATIVE, 'three seconds are over');
    assert.equal(await broker.tryConnect('b-1'), NOT_AUTHORIZED);
    assert.equal(await lasting.publish('fleet/t-1/up/x', '1'), NOBODY_LISTENS);
    assert.equal(await broker.tryConnect('t-2'), 0);
    const status = await until('the status says so', async () => {
      const now = await broker.status();
      return now.stale_seconds >= 3 && now;
    });
    assert.equal(status.in_touch, false);
    assert.match(status.trouble, /cannot reach the hub/);
    await broker.hub.comeBack();
    await until('it is let in again', async () => (await broker.tryConnect('b-1')) === 0, 60000);
    await lasting.disconnect();
  });

  it('is brought up to date after a restart before it admits anyone', async () => {
    await broker.kill();
    broker.hub.set('t-2', CUT);
    await broker.launch({ ready: false });
    await until('it listens', () => broker.tryConnect('t-1').then(() => true, () => false));
    assert.equal(await broker.tryConnect('t-2'), NOT_AUTHORIZED);
    await until('others are let in', async () => (await broker.tryConnect('t-1')) === 0);
    await told(broker, 't-2', 0);
  });

  it('remembers over a restart, also one that was a kill, while the hub is away', async () => {
    const client = await broker.connect('t-3', { clean: false, expiry: 3600 });
    await client.subscribe('fleet/t-3/down/#');
    await client.disconnect();
    await sleep(2500); // Mosquitto saves once a second, and the plugin, too
    await broker.kill('SIGKILL');
    await broker.hub.leave();
    await broker.launch({ ready: false });
    await until('those it knows are let in', async () => (await broker.tryConnect('t-1').catch(() => 1)) === 0, 30000);
    assert.equal(await broker.tryConnect('t-2'), NOT_AUTHORIZED, 'cut before, and still');
    assert.equal(await broker.tryConnect('t-1', { identity: await broker.ca.issue('stranger') }), NOT_AUTHORIZED);
    broker.hub.set('t-3', CUT);
    await broker.hub.comeBack();
    await told(broker, 't-3', broker.hub.position);
    await until('it is up to date', () => broker.log.includes('up to date with the hub'), 60000);
    broker.hub.set('t-3', FREE);
    await until('it is let in', async () => (await broker.tryConnect('t-3', { id: 't-3:probe' })) === 0);
    const back = await broker.connect('t-3', { clean: false, expiry: 3600 });
    assert.ok(!back.present, 'the session that was kept over the kill is discarded');
    await back.disconnect();
  });

  it('finishes a cut that it was killed in the middle of', async () => {
    const before = broker.hub.ended('t-3').length;
    broker.hub.deaf = true; // takes no reports
    broker.hub.set('t-3', CUT);
    await until('it is refused', async () => (await broker.tryConnect('t-3')) === NOT_AUTHORIZED);
    await sleep(300);
    await broker.kill('SIGKILL');
    assert.equal(broker.hub.ended('t-3').length, before);
    broker.hub.deaf = false;
    await broker.launch();
    await until('the hub is told after all', () => broker.hub.ended('t-3').length > before, 30000);
  });

  it('tells for how long it has gathered what it refused', async () => {
    const failures = () => broker.log.split('a report is not taken').length;
    const before = failures();
    broker.hub.deaf = true;
    const client = await broker.connect('t-1');
    assert.deepEqual(await client.subscribe('#'), [NOT_AUTHORIZED]);
    const refused = performance.now();
    await until('it could not tell', () => failures() > before, 60000);
    await client.disconnect();
    const gathered = (performance.now() - refused) / 1000;
    broker.hub.deaf = false;
    const report = await until('it tells', () => broker.hub.reports.find(({ refusals }) => refusals.some(({ kind, source }) => kind === 'topic' && source === 't-1')), 60000);
    assert.ok(report.refused_seconds >= gathered - 2, `${report.refused_seconds} of ${gathered}`);
    assert.ok(report.refused_seconds <= (performance.now() - refused) / 1000 + 1);
  });

  it('admits nobody without rules', async () => {
    await broker.kill();
    await broker.hub.leave();
    const rules = join(broker.state, 'rules');
    const good = await readFile(rules);
    good[good.length - 1] ^= 1;
    await writeFile(rules, good);
    await broker.launch({ ready: false });
    await until('it listens', () => broker.tryConnect('t-1').then(() => true, () => false));
    await until('it no longer waits for the hub', async () => (await broker.status()).refusals.state > 0 || (await broker.tryConnect('t-1'), false), 30000);
    assert.equal(await broker.tryConnect('t-1'), NOT_AUTHORIZED);
    await broker.hub.comeBack();
    await until('rules are back', async () => (await broker.tryConnect('t-1')) === 0, 60000);
  });

  it('takes devices that come all at once', async () => {
    const names = Array.from({ length: 40 }, (_, n) => `s-${n}`);
    for (const name of names) await broker.addDevice(name);
    await until('the broker knows them', async () => (await broker.status()).devices >= 44);
    const answers = await Promise.all(names.map((name) => broker.tryConnect(name)));
    assert.deepEqual(answers, names.map(() => 0));
    await until('all first connects are told', () => names.every((name) => broker.hub.reports.some((r) => r.connects.some((c) => c.device === name))), 30000);
  });

  it('has its listener show a renewed certificate', async () => {
    const next = await broker.ca.issue('broker'); // over the files that it has
    const shown = () => new Promise((done, fail) => {
      const socket = tls.connect({ port: broker.port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
        done(createHash('sha256').update(socket.getPeerCertificate().raw).digest());
        socket.destroy();
      });
      socket.on('error', fail);
    });
    await until('it shows the new one', async () => (await shown()).equals(next.sha256), 60000);
    await told(broker, 't-1', broker.hub.set('t-1', CUT));
  });
});

describe('a broker that takes passwords', () => {
  const iterations = 4096, secret = 'correct-horse';
  const now = () => Math.floor(Date.now() / 1000);
  const passwordOf = (text, until_ = now() + 3600) => {
    const salt = randomBytes(16);
    const clientKey = createHmac('sha256', pbkdf2Sync(text, salt, iterations, 32, 'sha256')).update('Client Key').digest();
    return { salt, iterations, storedKey: createHash('sha256').update(clientKey).digest(), until: until_ };
  };
  const password = passwordOf(secret);
  let broker;
  before(async () => {
    const more = ['r-1', 'r-2', 'r-3'].map((name) => ({ name, model: 'simple', certificates: [], password }));
    broker = await Mosquitto.start({
      policy: POLICY, config: { passwords: 'true' },
      devices: [{ name: 'p-1', model: 'simple', certificates: [], password }, { name: 'p-2', model: 'thermo', certificates: [], password }, ...more],
      mosquitto: '', certificates: false,
    });
  });
  after(() => broker?.stop());
  // Attempts are counted by address, too.
  const from = (username) => `127.0.1.${username.charCodeAt(0) + Number(username.at(-1))}`;
  const login = (username, secret_, id = username) => broker.tryConnect(username, { identity: {}, id, username, password: secret_, from: from(username) });
  const session = (name, secret_, id = name) => broker.connect(name, { identity: {}, id, username: name, password: secret_, from: from(name) });
  const reported = (name) => broker.hub.reports.flatMap((report) => report.connects).filter(({ device }) => device === name).map(({ password: salt }) => salt);
  const taken = (name, at) => until(`${name} is known as it is`, async () => (await broker.status()).position >= at, 30000);

  it('admits the right one for its device alone', async () => {
    assert.equal(await login('p-1', secret), 0);
    assert.equal(await login('default/p-1', secret, 'p-1'), 0);
    assert.equal(await login('default/p-1', secret, 'p-2'), NOT_AUTHORIZED);
    assert.equal(await login('p-2', secret), NOT_AUTHORIZED, 'its model may not have one');
    assert.equal(await login('p-1', ''), NOT_AUTHORIZED);
    assert.equal(await login('p-3', secret), NOT_AUTHORIZED);
    assert.equal(await broker.tryConnect('p-1', { identity: {} }), NOT_AUTHORIZED);
    await until('the hub hears of its first use', () => reported('p-1').length > 0, 30000);
    assert.deepEqual(reported('p-1'), [password.salt.toString('hex')], 'once, however often it comes');
  });

  it('takes the one before until the new one is used and the hub has said so', async () => {
    const old = await session('r-1', secret), next = passwordOf('second');
    await taken('r-1', broker.hub.set('r-1', { password: next, previous: password }));
    assert.equal(await login('r-1', secret, 'r-1:a'), 0);
    assert.equal(await login('r-1', 'third', 'r-1:a'), NOT_AUTHORIZED);
    await until('the hub hears of the first', () => reported('r-1').length === 1, 30000);
    const fresh = await session('r-1', 'second', 'r-1:b');
    await until('the hub hears of the second', () => reported('r-1').length === 2, 30000);
    assert.deepEqual(reported('r-1'), [password, next].map(({ salt }) => salt.toString('hex')));
    assert.equal(await login('r-1', secret, 'r-1:c'), 0, 'until the hub says so');
    await taken('r-1', broker.hub.set('r-1', { previous: undefined }));
    assert.equal((await old.next(14))?.body[0], ADMINISTRATIVE, 'the session that came by it goes, too');
    assert.equal(await login('r-1', secret), NOT_AUTHORIZED);
    assert.deepEqual(await fresh.subscribe('fleet/r-1/down/#'), [1], 'and the other stays');
    fresh.drop();
  });

  it('takes none from its end on, whatever the hub has said last', async () => {
    await taken('r-2', broker.hub.set('r-2', { password: passwordOf('second'), previous: { ...password, until: now() - 1 } }));
    assert.equal(await login('r-2', secret), NOT_AUTHORIZED);
    assert.equal(await login('r-2', 'second'), 0);
    await taken('r-2', broker.hub.set('r-2', { password: passwordOf('second', now() - 1), previous: undefined }));
    assert.equal(await login('r-2', 'second'), NOT_AUTHORIZED, 'what was right before is tried again');
    const end = now() + 15;
    await taken('r-3', broker.hub.set('r-3', { password: passwordOf('second'), previous: { ...password, until: end } }));
    const client = await session('r-3', secret);
    assert.equal((await client.next(14, 60000))?.body[0], ADMINISTRATIVE);
    assert.ok(now() >= end, 'not before');
    assert.equal(await login('r-3', 'second'), 0);
  });

  it('lets a guesser try a few times, and the device in all the while', async () => {
    const started = performance.now();
    for (let n = 0; n < 60; n++) assert.equal(await login('p-1', `guess-${n}`), NOT_AUTHORIZED);
    assert.equal(await login('p-1', secret), 0, 'what was right before needs no budget');
    assert.ok(performance.now() - started < 60000);
    await until('the hub hears of it', () => broker.hub.refused('password').reduce((sum, r) => sum + r.count, 0) >= 50, 30000);
  });

  it('ends its session once the password is taken away', async () => {
    const client = await session('p-1', secret);
    broker.hub.set('p-1', { password: undefined });
    assert.equal((await client.next(14))?.body[0], ADMINISTRATIVE);
    assert.equal(await login('p-1', secret), NOT_AUTHORIZED);
  });
});

describe('a broker of a tenant that takes passwords', () => {
  const iterations = 4096, salt = randomBytes(16), secret = 'correct-horse';
  const clientKey = createHmac('sha256', pbkdf2Sync(secret, salt, iterations, 32, 'sha256')).update('Client Key').digest();
  const password = { salt, iterations, storedKey: createHash('sha256').update(clientKey).digest(), until: Math.floor(Date.now() / 1000) + 3600 };
  let broker;
  before(async () => {
    broker = await Mosquitto.start({
      policy: `${POLICY}tenants: {cafe: {models: [simple, keeper]}}\n`, config: { passwords: 'true', tenant: 'cafe' },
      devices: [{ name: 'p-1', tenant: 'cafe', model: 'simple', certificates: [], password }],
      certificates: false,
    });
  });
  after(() => broker?.stop());
  const login = (username) => broker.tryConnect('p-1', { identity: {}, id: 'p-1', username, password: secret });

  it('takes a user name without a tenant for one of its own', async () => {
    assert.equal(await login('p-1'), 0);
    assert.equal(await login('cafe/p-1'), 0);
    assert.equal(await login('default/p-1'), NOT_AUTHORIZED);
  });

});

describe('a broker of a tenant that may have some models', () => {
  let broker;
  before(async () => {
    broker = await Mosquitto.start({
      policy: `${POLICY}tenants: {cafe: {models: [simple, keeper]}}\n`, config: { tenant: 'cafe' },
      devices: [{ name: 'k-1', tenant: 'cafe', model: 'keeper' }, { name: 't-1', tenant: 'cafe' }],
    });
  });
  after(() => broker?.stop());

  it('admits devices of those alone', async () => {
    assert.equal(await broker.tryConnect('k-1'), 0);
    assert.equal(await broker.tryConnect('t-1'), NOT_AUTHORIZED);
  });

  it('ends the session of a device whose tenant may have its model no more', async () => {
    const client = await broker.connect('k-1');
    broker.hub.setRules(2, broker.makeRules(2, `${POLICY}tenants: {cafe: {models: [simple]}}\n`));
    const end = await client.next(14);
    assert.equal(end?.body[0], ADMINISTRATIVE);
    assert.equal(await broker.tryConnect('k-1'), NOT_AUTHORIZED);
  });
});
