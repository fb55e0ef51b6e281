// Brokers as the hub sees them: who is one, what its certificate is good for, and what it is told.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, as, curl, csrBody, enrol, enrolledDevice, keepCertificate, newKey, openssl, programs, renew, sleep, until } from './lib/hub.mjs';
import { growTo } from './lib/ledger.mjs';
import { answerMisfits, operation } from './lib/contract.mjs';
import { addBroker, broker, changes, enrolBroker, report, table, wholeTable } from './lib/broker.mjs';

const run = promisify(execFile);
const PASSWORDS = `holdfast: 1
fleet: fleet.example
models:
  thermo:
    identity: {maker: acme}
    password: true
`;
const certificateOf = async (device) => new X509Certificate(await readFile(device.certificate));
const sha256 = async (device) => (await certificateOf(device)).fingerprint256.replaceAll(':', '').toLowerCase();
const names = (records) => records.map(({ device }) => device);
const refused = (answer, status, code) => {
  assert.equal(answer.json?.code, code, JSON.stringify(answer.json ?? answer));
  assert.equal(answer.status, status);
};

describe('a broker', () => {
  let hub;
  before(async () => {
    hub = await Hub.start({ names: 'hub.example.com, localhost, 127.0.0.1' });
    await hub.factory();
  });
  after(() => hub.stop());

  it('is added with one write: its device is expected, and gets a certificate with its hosts', async () => {
    const made = await addBroker(hub, 'mqtt-1');
    assert.match(made.claim_code, /^[0-9A-Z-]{30,}$/);
    const acts = (await hub.ledger()).filter(({ subject }) => /broker/.test(subject)).map(({ act }) => act);
    assert.deepEqual(acts, ['model.create', 'manifest.create', 'manifest.import', 'broker.add']);
    const one = await enrolBroker(hub, made);
    const certificate = await certificateOf(one);
    assert.equal(certificate.subjectAltName,
                 'URI:spiffe://fleet.example/default/device/mqtt-1, DNS:mqtt.example.com, IP Address:10.0.0.5');
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1']);
    // what TLS libraries make of it
    for (const purpose of ['sslserver', 'sslclient'])
      await openssl(['verify', '-CAfile', hub.roots, '-untrusted', join(hub.state, 'signer', 'issuing.pem'), '-purpose', purpose,
                     ...(purpose === 'sslserver' ? ['-verify_hostname', 'mqtt.example.com'] : []), one.certificate]);
    const { brokers } = await hub.must(200, 'GET', '/v1/brokers');
    assert.deepEqual(brokers.map(({ name, status, hosts, state }) => ({ name, status, hosts, state })),
                     [{ name: 'mqtt-1', status: 'added', hosts: ['mqtt.example.com', '10.0.0.5'], state: 'trusted' }]);
    const renewed = await renew(hub, one, one.csr);
    assert.equal(renewed.status, 200);
    const again = await certificateOf({ certificate: await keepCertificate(renewed, join(hub.folder, 'mqtt-1.2.crt')) });
    assert.equal(again.subjectAltName, certificate.subjectAltName, 'the same after a renewal');
    assert.deepEqual(again.keyUsage, certificate.keyUsage);
  });

  it('is refused the names of the hub, whatever way they are written', async () => {
    for (const host of ['hub.example.com', 'HUB.Example.COM', '127.0.0.1', '::ffff:127.0.0.1', '::ffff:7f00:1', 'LocalHost']) {
      const answer = await hub.api('POST', '/v1/brokers', { name: 'false-hub', hosts: [{ host: 'mqtt.example.com' }, { host }], expires_at: '2099-01-01T00:00:00Z' });
      assert.equal(answer.body.code, 'broker-host-taken', host);
      assert.equal(answer.body.field, 'hosts[1].host');
    }
    for (const host of ['*.example.com', 'mqtt.example.com.', 'a..b', '-a.example', '300.1.1.1', '10.0.0.5:8883', 'x'.repeat(64) + '.example']) {
      const answer = await hub.api('POST', '/v1/brokers', { name: 'odd', hosts: [{ host }], expires_at: '2099-01-01T00:00:00Z' });
      assert.equal(answer.status, 400, host);
    }
    const twice = await hub.api('POST', '/v1/brokers', { name: 'odd', hosts: [{ host: 'a.example' }, { host: 'A.example' }], expires_at: '2099-01-01T00:00:00Z' });
    assert.equal(twice.status, 400);
    assert.equal((await hub.api('GET', '/v1/brokers/odd')).status, 404);
  });

  it('takes no name that a device has', async () => {
    await enrolledDevice(hub, 'taken');
    const answer = await hub.api('POST', '/v1/brokers', { name: 'taken', hosts: [{ host: 'a.example' }], expires_at: '2099-01-01T00:00:00Z' });
    assert.equal(answer.status, 409);
    assert.equal(answer.body.code, 'device-exists');
    assert.equal((await hub.api('GET', '/v1/brokers/taken')).status, 404, 'and that was rolled back as a whole');
  });

  it('has no names but those of its row, whatever its request asks for', async () => {
    const wish = ['-addext', 'subjectAltName=DNS:hub.example.com,DNS:mqtt.example.com', '-addext', 'extendedKeyUsage=serverAuth'];
    const ask = async (serial, code, key) => {
      const der = await openssl(['req', '-new', '-key', key, '-subj', `/CN=${serial}`, '-outform', 'DER', ...wish]);
      return enrol(hub, serial, code, der.toString('base64'));
    };
    const { thief: code } = await hub.claims('thief');
    const device = await ask('thief', code, await newKey(join(hub.folder, 'thief.key')));
    const made = await addBroker(hub, 'greedy', ['greedy.example.com']);
    const one = await ask('greedy', made.claim_code, await newKey(join(hub.folder, 'greedy.key')));
    for (const [answer, san, usage] of [
      [device, 'URI:spiffe://fleet.example/default/device/thief', ['1.3.6.1.5.5.7.3.2']],
      [one, 'URI:spiffe://fleet.example/default/device/greedy, DNS:greedy.example.com', ['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1']],
    ]) {
      if (answer.status === 400) continue; // or the request is refused as a whole
      assert.equal(answer.status, 200, JSON.stringify(answer.json));
      const certificate = await certificateOf({ certificate: await keepCertificate(answer, join(hub.folder, 'wish.crt')) });
      assert.equal(certificate.subjectAltName, san);
      assert.deepEqual(certificate.keyUsage, usage);
    }
  });

  it('is taken for a hub by no device, whatever its hosts: not where another hub has that name', async () => {
    const poser = await broker(hub, 'poser', ['127.0.0.2']);
    const asked = [];
    const cert = [await readFile(poser.certificate), await readFile(join(hub.state, 'signer', 'issuing.pem'))].join('\n');
    const server = https.createServer({ key: await readFile(poser.key), cert }, (request, response) => {
      asked.push(request.url);
      response.end();
    });
    await new Promise((done) => server.listen(0, '127.0.0.2', done));
    const address = `127.0.0.2:${server.address().port}`;
    try {
      await run('curl', ['-sS', '--cacert', hub.roots, `https://${address}/control`]);
      assert.deepEqual(asked, ['/control'], 'for other clients it is a server of the fleet');
      const { victim: code } = await hub.claims('victim');
      const config = join(hub.folder, 'victim.conf');
      await writeFile(join(hub.folder, 'victim.claim'), code);
      await writeFile(config, `hub-bootstrap = ${address}\nhub-device = ${address}\ntrust-bundle = state/bundle\nstate = victim\nserial = victim\nclaim-file = victim.claim\n`);
      const said = await run(programs.agent, ['--config', config, '--once']).then(() => assert.fail('it enrolled'), (error) => error.stderr);
      assert.match(said, /bad signature|bad-signature|BAD_SIGNATURE|unreachable|failed/i);
      assert.deepEqual(asked, ['/control'], 'the claim code was shown to nobody');
    } finally {
      server.close();
    }
  });

  it('of that model alone is no broker: a device of it without a row gets a device\'s certificate', async () => {
    await hub.must(201, 'POST', '/v1/manifests', { id: 'own', model: 'holdfast-broker', owner: 'acme' });
    const { devices: [{ claim_code }] } = await hub.must(201, 'POST', '/v1/manifests/own/devices',
      { rows: [{ serial: 'pretender', claim: { expires_at: '2099-01-01T00:00:00Z' } }] });
    const one = await enrolBroker(hub, { name: 'pretender', claim_code });
    const certificate = await certificateOf(one);
    assert.equal(certificate.subjectAltName, 'URI:spiffe://fleet.example/default/device/pretender');
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2']);
    refused(await as(hub, one, '/v1/broker/table'), 403, 'broker-unknown');
  });

  it('alone may ask what brokers ask', async () => {
    const device = await enrolledDevice(hub, 'curious');
    for (const path of ['/v1/broker/table', '/v1/broker/changes?after=0', '/v1/broker/rules'])
      refused(await as(hub, device, path), 403, 'broker-unknown');
    for (const listener of ['bootstrap', 'operator'])
      assert.equal((await curl(hub, listener, '/v1/broker/table')).status, 404);
    assert.equal((await hub.api('GET', '/v1/broker/table')).status, 404);
  });

  it('that is removed is a broker no more, and its name is not given again', async () => {
    const one = await broker(hub, 'gone', ['gone.example.com']);
    assert.equal((await as(hub, one, '/v1/broker/table')).status, 200);
    const waiting = changes(hub, one, (await table(hub, one)).at, 25).then(() => 'answered', () => 'refused');
    await sleep(200);
    await hub.must(204, 'DELETE', '/v1/brokers/gone');
    assert.equal(await waiting, 'refused', 'nor is the question answered that it had asked before');
    refused(await as(hub, one, '/v1/broker/table'), 403, 'device-revoked');
    const shown = await hub.must(200, 'GET', '/v1/brokers/gone');
    assert.equal(shown.status, 'removed');
    assert.equal(shown.state, 'revoked');
    assert.equal((await hub.api('DELETE', '/v1/brokers/gone')).body.code, 'broker-not-found');
    assert.equal((await hub.api('DELETE', '/v1/brokers/never')).body.code, 'broker-not-found');
    const again = await hub.api('POST', '/v1/brokers', { name: 'gone', hosts: [{ host: 'gone.example.com' }], expires_at: '2099-01-01T00:00:00Z' });
    assert.equal(again.body.code, 'device-exists');
  });

  it('is what the command says, too', async () => {
    const added = await hub.cli('broker', 'add', 'by-hand', '--host', 'a.example.com,10.1.2.3', '--valid', '1h');
    assert.equal(added.code, 0, added.stderr);
    assert.match(added.stdout, /^[0-9A-Z-]{30,}\n$/);
    await enrolBroker(hub, { name: 'by-hand', claim_code: added.stdout.trim() });
    const shown = await hub.cli('broker', 'show', 'by-hand');
    assert.match(shown.stdout, /a\.example\.com, 10\.1\.2\.3/);
    assert.match((await hub.cli('broker', 'list')).stdout, /by-hand +trusted/);
    assert.equal((await hub.cli('broker', 'add', 'twin', '--host', 'localhost')).code, 1);
    assert.equal((await hub.cli('broker', 'add', 'x y', '--host', 'a.example.com')).code, 2);
    assert.equal((await hub.cli('broker', 'show', 'nobody')).code, 4);
    assert.equal((await hub.cli('broker', 'remove', 'by-hand')).code, 2, 'nobody is there to ask');
    assert.equal((await hub.cli('broker', 'remove', 'by-hand', '--yes')).code, 0);
    assert.match((await hub.cli('broker', 'list')).stdout, /by-hand +removed/);
  });

  it('in quarantine is told of nobody', async () => {
    const one = await broker(hub, 'held', ['held.example.com']);
    await hub.must(200, 'POST', '/v1/devices/held/quarantine', { reason: 'a test' });
    refused(await as(hub, one, '/v1/broker/table'), 403, 'device-not-trusted');
    await hub.must(200, 'POST', '/v1/devices/held/release', { reason: 'a test' });
    assert.equal((await as(hub, one, '/v1/broker/table')).status, 200);
  });
});

describe('what a broker is told', () => {
  let hub, one;
  const devices = {};
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    one = await broker(hub, 'mqtt-1');
    for (const serial of ['a', 'b', 'c', 'd']) devices[serial] = await enrolledDevice(hub, serial);
    await hub.claims('expected-1', 'expected-2');
  });
  after(() => hub.stop());
  const cut = (verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });

  it('is the table of all that have something to show, page by page', async () => {
    const { at, records } = await wholeTable(hub, one);
    assert.deepEqual(names(records), ['a', 'b', 'c', 'd', 'mqtt-1']);
    assert.ok(at > 5);
    assert.deepEqual(records[0], {
      state: 'trusted', cut: false, tenant: 'default', device: 'a', model: 'thermo', group: '',
      certificates: [{ sha256: await sha256(devices.a), notAfter: Math.floor(Date.parse((await certificateOf(devices.a)).validTo) / 1000) }],
    });
    assert.deepEqual(names((await table(hub, one)).records), ['a', 'b', 'c', 'd', 'mqtt-1'], 'and at once');
    for (const query of ['?limit=0', '?limit=4097', '?limit=-1', '?after=%00', '?before=a'])
      assert.equal((await as(hub, one, `/v1/broker/table${query}`)).status, 400, query);
  });

  it('is both certificates of a device that renewed, until the newer one was used', async () => {
    const device = devices.b;
    const { at } = await table(hub, one);
    const renewed = await renew(hub, device, device.csr);
    const newer = { ...device, certificate: await keepCertificate(renewed, join(hub.folder, 'b.2.crt')) };
    const told = async (from) => (await changes(hub, one, from, 20)).records.find(({ device: id }) => id === 'b').certificates.map((c) => c.sha256);
    assert.deepEqual(await told(at), [await sha256(device), await sha256(newer)]);
    const from = (await changes(hub, one, at)).at;
    assert.equal((await as(hub, newer, '/v1/device/self')).status, 200);
    await until('the older one is retired', async () => {
      const certificates = await told(from);
      return certificates.length === 1 && certificates[0] === await sha256(newer);
    });
    devices.b = newer;
  });

  it('is a cut, within a second, where it waits', async (t) => {
    let { at } = await table(hub, one);
    const times = [];
    for (const [verb, serial, state] of [['quarantine', 'c', 'quarantined'], ['release', 'c', 'trusted'], ['revoke', 'c', 'revoked'], ['retire', 'd', 'retired']]) {
      const waiting = changes(hub, one, at, 25).then((told) => ({ told, when: performance.now() }));
      await sleep(300);
      const start = performance.now();
      await cut(verb, serial);
      const { told, when } = await waiting;
      times.push(when - start);
      assert.deepEqual(names(told.records), [serial]);
      assert.equal(told.records[0].state, state);
      assert.equal(told.records[0].cut, verb !== 'release');
      assert.equal(told.records[0].certificates.length, verb === 'revoke' || verb === 'retire' ? 0 : 1);
      assert.ok(told.at > at);
      at = told.at;
    }
    t.diagnostic(`told ${times.map((ms) => ms.toFixed(0)).join(', ')} ms after the cut was asked for (a curl process each)`);
    assert.ok(Math.max(...times) < 5000);
    const records = (await table(hub, one)).records.filter(({ cut: is }) => is);
    assert.deepEqual(names(records), ['c', 'd'], 'those that are cut off stay in the table');
  });

  it('is nothing after the wait, and nothing that is no change to it', async () => {
    assert.equal((await as(hub, devices.a, '/v1/device/self')).status, 200);
    await until('that is noted', async () => (await hub.ledger()).some(({ act, subject }) => act === 'device.confirm' && subject === 'device/a'));
    const { at } = await table(hub, one);
    const start = performance.now();
    const waiting = changes(hub, one, at, 2);
    const said = await as(hub, devices.a, '/v1/device/report', ['-X', 'PUT', '-H', 'Content-Type: application/json'],
                          '{"agent_version":"1","platform":"x","key_storage":"file","facts":{"n":"1"}}');
    assert.equal(said.status, 204);
    await hub.claims('expected-3');
    await hub.must(201, 'POST', '/v1/devices/expected-3/claim', { expires_at: '2099-01-01T00:00:00Z' });
    const told = await waiting;
    assert.deepEqual(told.records, []);
    assert.ok(performance.now() - start > 1900);
    assert.ok(told.at >= at + 2, 'what did not matter is passed over');
    assert.deepEqual((await changes(hub, one, told.at)).records, []);
  });

  it('is told again to one that asks again: the second question ends the wait of the first', async () => {
    const { at } = await table(hub, one);
    const first = changes(hub, one, at, 25);
    const second = changes(hub, one, at, 25);
    await sleep(500);
    await cut('quarantine', 'a');
    await cut('release', 'a');
    const answers = await Promise.all([first, second]);
    assert.ok(answers.some(({ records }) => names(records).includes('a')));
  });

  it('starts anew where its position is none of this ledger', async () => {
    const { at } = await table(hub, one);
    refused(await as(hub, one, `/v1/broker/changes?after=${at + 1000}`), 409, 'position-unknown');
    for (const query of ['', '?after=-1', '?after=x', `?after=${at}&wait=26`, `?after=${at}&wait=-1`, `?after=${at}&rules=-1`, '?after=1&after=2'])
      assert.equal((await as(hub, one, `/v1/broker/changes${query}`)).status, 400, query);
  });

  it('is all of it from the beginning of the ledger', async () => {
    const { records } = await wholeTable(hub, one, 100);
    const told = new Map();
    let at = 0;
    for (;;) {
      const page = await changes(hub, one, at);
      for (const record of page.records) told.set(record.device, record);
      if (page.at === at) break;
      at = page.at;
    }
    for (const record of records) assert.deepEqual(told.get(record.device), record);
  });

  it('is an open cut first, where it is far behind', async () => {
    await hub.claims('grower');
    const { at } = await table(hub, one);
    const late = await enrolledDevice(hub, 'late');
    await growTo(hub, (await hub.must(200, 'GET', '/v1/hub')).ledger.size + 1300);
    await cut('quarantine', 'late');
    const { size } = await hub.must(200, 'GET', '/v1/ledger/entries?limit=1');
    const first = await changes(hub, one, at, 20);
    assert.ok(first.at < size, 'it is not at the end yet');
    assert.equal(first.records.find(({ device }) => device === 'late').state, 'quarantined');
    const told = await report(hub, one, { ended: [{ device: 'late', entry: size, reason_code: 0, sessions: 0, subscriptions: 0, queued: 0, retained_cleared: 0, latency_ms: 0 }] });
    assert.equal(told.status, 204);
    assert.deepEqual(names((await changes(hub, one, first.at)).records), ['late'], 'and in its turn');
    assert.deepEqual((await changes(hub, one, size)).records, []);
    assert.equal((await as(hub, late, '/v1/device/self')).status, 200);
  });

  it('is answered at once by a hub that ends, and goes on after its restart', async () => {
    const { at } = await table(hub, one);
    const waiting = changes(hub, one, at, 25);
    await sleep(500);
    const start = performance.now();
    const ended = hub.end('SIGTERM');
    assert.deepEqual((await waiting).records, []);
    await ended;
    assert.ok(performance.now() - start < 4000, 'it does not wait for the drain to run out');
    await hub.launch();
    await cut('quarantine', 'b');
    assert.deepEqual(names((await changes(hub, one, at, 20)).records), ['b']);
  });

  it('is not lost by a hub that is killed while it waits', async () => {
    const { at } = await table(hub, one);
    const waiting = as(hub, one, `/v1/broker/changes?after=${at}&wait=25`);
    await sleep(500);
    await hub.end('SIGKILL');
    assert.notEqual((await waiting).curl, undefined, 'that connection is gone');
    await hub.launch();
    await cut('release', 'b');
    assert.deepEqual(names((await changes(hub, one, at, 20)).records), ['b']);
  });

  it('is cheap to leave: clients that go away in the middle of a wait hold nothing up', async () => {
    const { at } = await table(hub, one);
    for (let i = 0; i < 5; i++)
      assert.equal((await as(hub, one, `/v1/broker/changes?after=${at}&wait=25`, ['--max-time', '0.3'])).curl, 28);
    await cut('quarantine', 'b');
    assert.deepEqual(names((await changes(hub, one, at, 20)).records), ['b']);
  });
});

describe('what a broker tells', () => {
  let hub, one;
  const devices = {};
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    one = await broker(hub, 'mqtt-1');
    for (const serial of ['a', 'b', 'c']) devices[serial] = await enrolledDevice(hub, serial);
  });
  after(() => hub.stop());
  const tell = async (said) => {
    const answer = await report(hub, one, said);
    assert.equal(answer.status, 204, JSON.stringify(answer.json ?? answer));
  };
  const acts = async (name) => (await hub.ledger()).filter(({ act }) => act === name);
  const at = '2026-11-28T19:00:00Z';

  it('is how far it is, in its row and in metrics', async () => {
    await tell({ position: 5, rules: 3, sessions: 42, software: 'mosquitto 2.0.11', stale_seconds: 9 });
    const shown = await until('it is written', async () => {
      const { seen } = await hub.must(200, 'GET', '/v1/brokers/mqtt-1');
      return seen;
    });
    const { size } = await hub.must(200, 'GET', '/v1/ledger/entries?limit=1');
    assert.deepEqual({ ...shown, seen_at: '' }, { seen_at: '', position: 5, behind: size - 5, rules: 3, sessions: 42, software: 'mosquitto 2.0.11' });
    const metrics = await hub.metrics();
    assert.equal(metrics.get('holdfast_brokers_connected'), 1);
    assert.equal(metrics.get('holdfast_broker_sessions{broker="mqtt-1"}'), 42);
    assert.equal(metrics.get('holdfast_broker_stale_seconds{broker="mqtt-1"}'), 9);
    assert.equal(metrics.get('holdfast_broker_behind_entries{broker="mqtt-1"}'), size - 5);
    assert.ok(metrics.get('holdfast_broker_contact_seconds{broker="mqtt-1"}') < 60);
    for (const [id, path] of [['broker_list', '/v1/brokers'], ['broker_show', '/v1/brokers/mqtt-1']])
      assert.deepEqual(answerMisfits(operation(id), await hub.api('GET', path)), []);
  });

  it('is that a device came: an act the first time with each certificate, however often it is said', async () => {
    for (let i = 0; i < 3; i++) await tell({ connects: [{ device: 'a', at, first: true }, { device: 'b', at, first: false }, { device: 'nobody', at, first: true }] });
    const told = await acts('broker.connect');
    assert.deepEqual(told.map(({ subject, actor, data }) => ({ subject, actor, data })),
                     [{ subject: 'device/a', actor: 'device:default/mqtt-1', data: { broker: 'mqtt-1', at } }]);
    const renewed = await renew(hub, devices.a, devices.a.csr);
    assert.equal(renewed.status, 200);
    for (let i = 0; i < 2; i++) await tell({ connects: [{ device: 'a', at, first: true }] });
    assert.equal((await acts('broker.connect')).length, 2);
    for (const serial of ['a', 'b']) assert.equal((await hub.must(200, 'GET', `/v1/devices/${serial}`)).seen_at, at);
    assert.deepEqual((await hub.metrics()).get('holdfast_brokers_connected'), 1);
  });

  it('is which password a device came by: the first use of a new one ends the one before', async () => {
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: PASSWORDS });
    await hub.claims('meter');
    const recordOf = async () => (await wholeTable(hub, one)).records.find(({ device }) => device === 'meter');
    const make = async () => (await hub.must(201, 'POST', '/v1/devices/meter/password'));
    const salt = (password) => password.salt.toString('hex');
    const said = (password) => tell({ connects: [{ device: 'meter', at, first: true, password }] });
    const made = await make();
    const first = await recordOf();
    assert.equal(first.password.until, Date.parse(made.expires_at) / 1000);
    assert.equal(first.previous, undefined);
    await said(salt(first.password));
    assert.equal((await acts('device.password-use')).length, 1);
    const again = await make(), both = await recordOf();
    assert.deepEqual([both.previous.salt, both.previous.storedKey, both.previous.until], [first.password.salt, first.password.storedKey, Date.parse(again.previous_until) / 1000]);
    assert.notEqual(salt(both.password), salt(first.password));
    for (const other of [salt(both.previous), '00'.repeat(16)]) {
      await said(other);
      assert.deepEqual((await recordOf()).previous, both.previous, 'not the new one');
    }
    for (let i = 0; i < 2; i++) await said(salt(both.password));
    assert.deepEqual([(await recordOf()).previous, (await recordOf()).password], [undefined, both.password]);
    assert.equal((await acts('device.password-use')).length, 2, 'once each');
    assert.equal((await acts('broker.connect')).filter(({ subject }) => subject === 'device/meter').length, 1);
    for (const bad of ['', 'ab', 'Z'.repeat(32), 'a'.repeat(33)])
      refused(await report(hub, one, { connects: [{ device: 'meter', at, first: true, password: bad }] }), 400, bad.length > 32 ? 'field-size' : 'field-value');
    await tell({ connects: [{ device: 'nobody', at, first: true, password: salt(both.password) }, { device: 'a', at, first: false, password: salt(both.password) }] });
    assert.equal((await acts('device.password-use')).length, 2);
  });

  it('is that a cut has reached it: its leg is confirmed, and the cut complete', async () => {
    await hub.must(200, 'POST', '/v1/devices/c/quarantine', { reason: 'a test' });
    const { at: position } = await table(hub, one);
    const ended = (change) => ({ device: 'c', entry: position, reason_code: 152, sessions: 1, subscriptions: 0, queued: 0, retained_cleared: 2, latency_ms: 7, ...change });
    const leg = async () => {
      const { legs } = await hub.must(200, 'GET', '/v1/devices/c/cut');
      return legs.find(({ leg }) => leg === 'broker/mqtt-1');
    };
    const [cutAt] = (await hub.ledger()).map(({ act, subject }, i) => (act === 'device.quarantine' && subject === 'device/c' ? i : -1)).filter((i) => i >= 0);
    for (const bad of [{ entry: cutAt }, { entry: 0 }, { subscriptions: 1 }, { queued: 3 }, { device: 'a' }, { device: 'nobody' }]) {
      await tell({ ended: [ended(bad)] });
      assert.equal((await leg()).status, 'open', JSON.stringify(bad));
    }
    await tell({ ended: [ended()] });
    const confirmed = await leg();
    assert.equal(confirmed.status, 'confirmed');
    assert.match(confirmed.detail, /session ended with 152 within 7 ms; 0 subscriptions and 0 queued messages left, 2 retained taken back/);
    const told = (await acts('device.cut-leg')).length;
    await tell({ ended: [ended()] });
    assert.equal((await acts('device.cut-leg')).length, told, 'once');
  });

  it('is what it refused, as findings', async () => {
    const refusals = Array.from({ length: 40 }, (_, i) => ({ kind: 'topic', source: `thermo-${i}`, count: 3 }));
    await tell({ refusals });
    await tell({ refusals: [{ kind: 'unknown-certificate', source: '10.1.2.3', count: 7 }] });
    await hub.restart();
    const findings = (await acts('finding.refused')).map(({ data }) => data).filter(({ kind }) => kind.startsWith('broker-'));
    const of = (source) => findings.find((one) => one.source === `mqtt-1: ${source}`);
    assert.equal(of('10.1.2.3').kind, 'broker-unknown-certificate');
    assert.equal(of('10.1.2.3').count, 7);
    assert.equal(of('thermo-0').count, 3);
    assert.equal(of('others').count, 24, 'a flood of sources is a line');
  });

  it('is bounded and of the form that the contract has', async () => {
    const many = (what, n) => ({ [what]: Array.from({ length: n }, () => ({ device: 'a', at, first: false })) });
    await tell(many('connects', 256));
    assert.equal((await report(hub, one, many('connects', 257))).json.code, 'field-size');
    assert.equal((await report(hub, one, { refusals: Array.from({ length: 300 }, () => ({ kind: 'rate', source: 'x', count: 1 })) })).json.code, 'field-size');
    assert.equal((await report(hub, one, ' '.repeat(170000))).status, 413);
    for (const bad of [{ position: -1 }, { sessions: -1 }, { rules: -5 }, { stale_seconds: -1 }, { software: '' }, { software: 'a\u0007' }, { sessions: 1e12 },
                       { connects: [{ device: '../x', at, first: true }] }, { connects: [{ device: 'a', at: 'now', first: true }] }, { connects: [{ device: 'a', at, first: 1 }] },
                       { refusals: [{ kind: 'other', source: 'x', count: 1 }] }, { refusals: [{ kind: 'rate', source: 'x', count: 0 }] },
                       { refusals: [{ kind: 'rate', source: 'x\ny', count: 1 }] }, { ended: [{ device: 'a' }] }, { more: 1 }])
      assert.equal((await report(hub, one, bad)).status, 400, JSON.stringify(bad));
    refused(await report(hub, devices.b, {}), 403, 'broker-unknown');
  });
});
