// Two tenants of one hub, each with devices of the same names and a broker of its own: neither sees, reaches or
// disturbs what the other has, whatever it shows or says.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { X509Certificate } from 'node:crypto';
import { chmod, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Hub, as, csrBody, curl, enrol, enrolledDevice, newKey, programs, renew, until } from './lib/hub.mjs';
import { Agent } from './lib/agent.mjs';
import { Mosquitto, build } from './lib/mosquitto.mjs';

const NOT_AUTHORIZED = 135, ADMINISTRATIVE = 152; // MQTT 5.0 section 2.4
const LATER = '2099-01-01T00:00:00Z';
const TENANTS = 'tenants:\n  cafe: {models: [thermo, simple]}\n';
const POLICY = `holdfast: 1
fleet: fleet.example
models:
  thermo:
    identity: {maker: acme}
    limits: {messages: 6000/min, connects: 6000/min}
    publish: ["fleet/{tenant}/{device}/up/#"]
    subscribe: ["fleet/{tenant}/{device}/down/#"]
  simple:
    identity: {maker: acme}
    password: true
  valve:
    identity: {maker: acme}
`;

const san = async (device) => new X509Certificate(await readFile(device.certificate)).subjectAltName;
const refused = (answer, status, code) => {
  assert.equal((answer.json ?? answer.body)?.code, code, JSON.stringify(answer.json ?? answer.body));
  assert.equal(answer.status, status);
};

describe('two tenants', { timeout: 300000 }, () => {
  let hub, cafe, ours, theirs, mosquitto, cafeMosquitto;
  const self = (device) => as(hub, device, '/v1/device/self');
  const known = (broker, serial) => until(`the broker lets ${serial} in`, async () => (await broker.tryConnect(serial)) === 0, 30000);
  before(async () => {
    hub = await Hub.start({}, { cliEnv: { PATH: `${dirname(programs.agent)}:${process.env.PATH}` } });
    cafe = await hub.in('cafe');
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: POLICY + TENANTS });
    for (const tenant of [hub, cafe]) await tenant.must(201, 'POST', '/v1/manifests', { id: 'batch', model: 'thermo', owner: 'acme' });
    ours = await enrolledDevice(hub, 't-1');
    theirs = await enrolledDevice(cafe, 't-1');
  });
  after(async () => {
    await mosquitto?.stop();
    await cafeMosquitto?.stop();
    await hub?.stop();
  });

  it('have the models that the policy gives them', async () => {
    const models = async (tenant) => (await tenant.must(200, 'GET', '/v1/models')).models.map(({ id }) => id);
    assert.deepEqual(await models(hub), ['simple', 'thermo', 'valve']);
    assert.deepEqual(await models(cafe), ['simple', 'thermo']);
    refused(await cafe.api('POST', '/v1/manifests', { id: 'valves', model: 'valve', owner: 'acme' }), 404, 'model-not-found');
    const told = (await hub.ledger()).find(({ act }) => act === 'policy.apply');
    assert.equal(told.data.models_created, 5);
  });

  it('have devices of one name, which are two', async () => {
    assert.equal(await san(ours), 'URI:spiffe://fleet.example/default/device/t-1');
    assert.equal(await san(theirs), 'URI:spiffe://fleet.example/cafe/device/t-1');
    assert.equal((await self(ours)).json.tenant, 'default');
    assert.equal((await self(theirs)).json.tenant, 'cafe');
    assert.equal((await renew(hub, theirs, await csrBody(await newKey(join(cafe.folder, 'second.key')), '/CN=t-1'))).status, 200);
    assert.equal((await hub.must(200, 'GET', '/v1/devices/t-1')).certificate.status, 'active', 'as it was');
    const { devices } = await cafe.must(200, 'GET', '/v1/devices');
    assert.deepEqual(devices.map(({ tenant, id }) => `${tenant}/${id}`), ['cafe/t-1']);
    const acts = (await hub.ledger()).filter(({ act, subject }) => act === 'device.enrol' && subject === 'device/t-1');
    assert.deepEqual(acts.map(({ tenant, actor }) => [tenant, actor]), [['default', 'device:default/t-1'], ['cafe', 'device:cafe/t-1']]);
  });

  it('let nobody enrol with the code of the other\'s device', async () => {
    const { 't-2': code } = await hub.claims('t-2');
    const { 't-2': cafeCode } = await cafe.claims('t-2');
    const csr = await csrBody(await newKey(join(hub.folder, 'thief.key')), '/CN=t-2');
    const tries = [['t-2', cafeCode], ['cafe/t-2', code], ['default/t-2', cafeCode], ['nobody/t-2', code], ['/t-2', code], ['cafe/', cafeCode],
                   ['cafe/t-2/x', cafeCode], ['cafe//t-2', cafeCode], ['cafe\u00e9/t-2', cafeCode]];
    for (const [user, claim] of tries) refused(await enrol(hub, user, claim, csr), 401, 'enrolment-refused');
    assert.equal((await enrol(hub, 'default/t-2', code, csr)).status, 200, 'the first tenant may be named, too');
    refused(await enrol(hub, 'cafe/t-2', cafeCode, csr), 409, 'key-in-use');
  });

  it('enrol an agent that is told whose it is', async () => {
    const { 't-3': code } = await cafe.claims('t-3');
    const agent = await Agent.make(cafe, 't-3', { code, config: { tenant: 'cafe' } });
    assert.equal((await agent.once()).code, 0, agent.log);
    assert.equal((await cafe.must(200, 'GET', '/v1/devices/t-3')).state, 'trusted');
    assert.equal((await hub.api('GET', '/v1/devices/t-3')).status, 404);
    const { 't-4': other } = await cafe.claims('t-4');
    const lost = await Agent.make(cafe, 't-4', { code: other });
    assert.notEqual((await lost.once()).code, 0, 'told nothing, it asks in the first tenant');
    for (const one of [agent, lost]) await one.remove();
  });

  it('have brokers that admit their own devices alone', async () => {
    mosquitto = await Mosquitto.beside(hub, 'mqtt');
    cafeMosquitto = await Mosquitto.beside(cafe, 'mqtt');
    await mosquitto.adopt(ours);
    await cafeMosquitto.adopt(theirs);
    await known(mosquitto, 't-1');
    await known(cafeMosquitto, 't-1');
    for (const [broker, foreign] of [[mosquitto, cafeMosquitto.devices['t-1']], [cafeMosquitto, mosquitto.devices['t-1']]])
      assert.equal(await broker.tryConnect('t-1', { identity: foreign }), NOT_AUTHORIZED);
    const client = await cafeMosquitto.connect('t-1');
    assert.deepEqual(await client.subscribe('fleet/cafe/t-1/down/#', 'fleet/default/t-1/down/#'), [1, NOT_AUTHORIZED]);
    await client.disconnect();
  });

  it('are told apart by a cut: only the one\'s session ends, and only its broker is waited for', async () => {
    const stays = await mosquitto.connect('t-1');
    const goes = await cafeMosquitto.connect('t-1');
    await cafe.must(200, 'POST', '/v1/devices/t-1/quarantine', { reason: 'a test' });
    assert.equal((await goes.next(14))?.body[0], ADMINISTRATIVE);
    const cut = await until('the cut is complete', async () => {
      const { body } = await cafe.api('GET', '/v1/devices/t-1/cut');
      return body.status === 'complete' && body;
    }, 30000);
    assert.deepEqual(cut.legs.map(({ leg }) => leg).sort(), ['api/1', 'broker/mqtt']);
    assert.equal((await hub.api('GET', '/v1/devices/t-1/cut')).status, 404);
    assert.deepEqual(await stays.subscribe('fleet/default/t-1/down/#'), [1], 'the other stays, and is served');
    assert.equal(await cafeMosquitto.tryConnect('t-1'), NOT_AUTHORIZED);
    assert.equal((await self(ours)).status, 200);
    refused(await as(hub, theirs, '/v1/device/checkin', ['-H', 'Content-Type: application/json'], '{}'), 403, 'device-not-trusted');
    await cafe.must(200, 'POST', '/v1/devices/t-1/release', { reason: 'a test' });
    await known(cafeMosquitto, 't-1');
    await stays.disconnect();
  });

  it('have a cut finished that a killed hub left open, in whatever tenant', async () => {
    await cafeMosquitto.kill('SIGKILL');
    await cafe.must(200, 'POST', '/v1/devices/t-3/quarantine', { reason: 'a test' });
    await hub.restart('SIGKILL');
    const cut = await until('its hub\'s leg is confirmed', async () => {
      const { body } = await cafe.api('GET', '/v1/devices/t-3/cut');
      return body.legs.find(({ leg }) => leg === 'api/1')?.status === 'confirmed' && body;
    }, 30000);
    assert.equal(cut.legs.find(({ leg }) => leg === 'broker/mqtt').status, 'open');
  });

  it('have passwords and cuts by filter of their own', async () => {
    await hub.must(201, 'POST', '/v1/manifests', { id: 'plain', model: 'simple', owner: 'acme' });
    await cafe.must(201, 'POST', '/v1/manifests', { id: 'plain', model: 'simple', owner: 'acme' });
    for (const tenant of [hub, cafe])
      await tenant.must(201, 'POST', '/v1/manifests/plain/devices', { rows: [{ serial: 's-1', claim: { expires_at: LATER } }] });
    const made = await cafe.cli('device', 'password', 's-1', '--yes');
    assert.equal(made.code, 0, made.stderr);
    assert.equal((await hub.must(200, 'GET', '/v1/devices/s-1')).password, undefined);
    const cut = await cafe.cli('device', 'quarantine', '--model', 'simple', '--reason', 'a test', '--yes', '--wait', '1s');
    assert.ok([0, 7].includes(cut.code), cut.stderr); // its broker is off
    assert.equal((await cafe.must(200, 'GET', '/v1/devices/s-1')).state, 'quarantined');
    assert.equal((await hub.must(200, 'GET', '/v1/devices/s-1')).state, 'expected');
  });
});

describe('a tenant that reaches beyond its own', { timeout: 120000 }, () => {
  let hub, cafe, ours, theirs, tokens;
  const bearer = (token) => ['-H', `Authorization: Bearer ${token}`];
  const JSON_TYPE = ['-H', 'Content-Type: application/json'];
  before(async () => {
    hub = await Hub.start();
    cafe = await hub.in('cafe');
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: POLICY + TENANTS });
    for (const tenant of [hub, cafe]) await tenant.must(201, 'POST', '/v1/manifests', { id: 'batch', model: 'thermo', owner: 'acme' });
    ours = await enrolledDevice(hub, 't-1');
    theirs = await enrolledDevice(cafe, 't-1');
    tokens = {};
    for (const [name, tenant] of [['default', hub], ['cafe', cafe]])
      tokens[name] = (await tenant.must(201, 'POST', '/v1/tokens', { name: 'all', scopes: ['ledger', 'metrics', 'hooks'], expires_at: LATER })).token;
  });
  after(() => hub?.stop());

  it('reads no entries of the ledger and no metrics by its token, and may check the log', async () => {
    const get = (tenant, path) => curl(hub, 'operator', path, bearer(tokens[tenant]));
    await until('there is a checkpoint', async () => (await get('cafe', '/v1/ledger/checkpoint')).status === 200);
    const width = Number((await get('cafe', '/v1/ledger/checkpoint')).body.toString().split('\n')[1]);
    assert.equal((await get('cafe', `/v1/ledger/tile/0/000.p/${width}`)).status, 200);
    refused(await get('cafe', `/v1/ledger/tile/entries/000.p/${width}`), 403, 'fleet-wide');
    assert.equal((await get('default', `/v1/ledger/tile/entries/000.p/${width}`)).status, 200);
    refused(await get('cafe', '/metrics'), 403, 'fleet-wide');
    assert.equal((await get('default', '/metrics')).status, 200);
  });

  it('reads no entries by a device\'s certificate either', async () => {
    const width = Number((await as(hub, theirs, '/v1/ledger/checkpoint')).body.toString().split('\n')[1]);
    assert.equal((await as(hub, theirs, `/v1/ledger/tile/0/000.p/${width}`)).status, 200);
    refused(await as(hub, theirs, `/v1/ledger/tile/entries/000.p/${width}`), 403, 'fleet-wide');
  });

  it('is not believed a word of another tenant over the network', async () => {
    const acts = await hub.acts();
    const field = ['-H', 'Holdfast-Tenant: default'];
    refused(await curl(hub, 'operator', '/metrics', [...bearer(tokens.cafe), ...field]), 403, 'tenant-refused');
    refused(await curl(hub, 'operator', '/v1/health', field), 403, 'tenant-refused');
    refused(await as(hub, theirs, '/v1/device/self', field), 403, 'tenant-refused');
    const { 't-9': code } = await cafe.claims('t-9');
    const before = await hub.acts();
    refused(await enrol(hub, 't-9', code, await csrBody(await newKey(join(hub.folder, 't-9.key')), '/CN=t-9'), ['-H', 'Holdfast-Tenant: cafe']), 403, 'tenant-refused');
    assert.equal(await hub.acts(), before);
    assert.equal(before, acts + 1, 'the manifest alone');
  });

  it('applies no policy, and cuts nobody, with a token', async () => {
    const policy = { from: 1, text: `${POLICY}tenants: {cafe: {}}\n` };
    for (const [method, path, body] of [['POST', '/v1/policies', policy], ['GET', '/v1/policy'], ['POST', '/v1/policy/plan', policy],
                                        ['POST', '/v1/devices/t-1/quarantine', { reason: 'x' }], ['GET', '/v1/devices'], ['POST', '/v1/tokens', {}]])
      refused(await curl(hub, 'operator', path, ['-X', method, ...bearer(tokens.cafe), ...JSON_TYPE], body && JSON.stringify(body)), 404, 'route-not-found');
    assert.equal((await hub.must(200, 'GET', '/v1/policy')).number, 1);
    assert.equal((await hub.must(200, 'GET', '/v1/devices/t-1')).state, 'trusted');
  });

  it('governs nothing of the fleet at the local socket', async () => {
    const acts = await hub.acts();
    for (const [method, path, body] of [
      ['POST', '/v1/policies', { from: 1, text: POLICY }], ['GET', '/v1/policy'], ['GET', '/v1/policies'], ['GET', '/v1/policies/1'],
      ['POST', '/v1/policy/plan', { text: POLICY }], ['POST', '/v1/policies/1/approve', {}], ['POST', '/v1/policies/1/withdraw', {}],
      ['GET', '/v1/ledger/entries'], ['POST', '/v1/ledger/archive', {}], ['PUT', '/v1/trust-bundle', 'x'], ['POST', '/v1/hubs', 'x'],
      ['POST', '/v1/hubs/2/remove', {}], ['GET', '/metrics'],
    ]) refused(await cafe.api(method, path, body), 403, 'fleet-wide');
    const told = await cafe.cli('policy', 'show');
    assert.equal(told.code, 1);
    assert.match(told.stderr, /whole fleet/);
    assert.equal(await hub.acts(), acts);
  });

  it('is asked for in words that are a tenant\'s', async () => {
    for (const name of ['nobody', 'Cafe', 'cafe ', '../cafe', 'x'.repeat(300)]) {
      const view = Object.create(hub, { tenant: { value: name } });
      const answer = await view.api('GET', '/v1/devices');
      if (name.trim() === 'cafe') assert.equal(answer.status, 200, 'blanks around a value are no part of it');
      else refused(answer, 404, 'tenant-unknown');
    }
    assert.equal((await hub.cli('--tenant', 'nobody', 'device', 'list')).code, 4);
    const odd = await hub.cli('--tenant', 'a b', 'device', 'list');
    assert.equal(odd.code, 2);
    assert.match(odd.stderr, /tenant/);
    assert.equal((await hub.cli('device', 'list', '--tenant', 'cafe', '--json')).code, 0, 'wherever it stands');
  });

  it('is answered by hooks about its own clients', async () => {
    const base64 = async (device) => /-----BEGIN CERTIFICATE-----([^-]+)-----/.exec(await readFile(device.certificate, 'utf8'))[1].replace(/\s/g, '');
    const ask = async (tenant, device) => (await curl(hub, 'operator', '/v1/hooks/emqx/authn', [...bearer(tokens[tenant]), ...JSON_TYPE],
      JSON.stringify({ clientid: 't-1', cert_pem: await base64(device) }))).json.result;
    assert.deepEqual([await ask('default', ours), await ask('cafe', theirs)], ['allow', 'allow']);
    assert.deepEqual([await ask('default', theirs), await ask('cafe', ours)], ['deny', 'deny']);
    const user = async (tenant, username) => (await curl(hub, 'operator', '/v1/hooks/mosquitto-go-auth/acl', [...bearer(tokens[tenant]), ...JSON_TYPE],
      JSON.stringify({ username, clientid: 't-1', topic: `fleet/${tenant}/t-1/up/x`, acc: 2 }))).status;
    assert.equal(await user('cafe', 't-1'), 200);
    assert.equal(await user('cafe', 'cafe/t-1'), 200);
    assert.equal(await user('cafe', 'default/t-1'), 403);
    assert.equal(await user('default', 'cafe/t-1'), 403);
  });

  it('loses all but its devices\' own enrolment with its place in the policy, which is to be meant', async () => {
    const plan = await hub.must(200, 'POST', '/v1/policy/plan', { text: POLICY });
    assert.match(plan.lock_out, /tenant 'cafe'/);
    assert.ok(plan.differences.some(({ effect, what }) => effect === 'loses' && /tenant 'cafe'/.test(what)), JSON.stringify(plan.differences));
    refused(await hub.api('POST', '/v1/policies', { from: 1, text: POLICY }), 409, 'policy-lock-out');
    await hub.must(201, 'POST', '/v1/policies', { from: 1, text: POLICY, lock_out: 'accepted' });
    refused(await curl(hub, 'operator', '/v1/ledger/checkpoint', bearer(tokens.cafe)), 403, 'tenant-unknown');
    refused(await cafe.api('GET', '/v1/devices'), 404, 'tenant-unknown');
    refused(await as(hub, theirs, '/v1/device/checkin', JSON_TYPE, '{}'), 403, 'out-of-reach');
    assert.equal((await as(hub, theirs, '/v1/device/self')).status, 200);
    assert.equal((await as(hub, ours, '/v1/device/self')).status, 200);
    await hub.must(201, 'POST', '/v1/policies', { from: 2, text: POLICY + TENANTS });
    assert.equal((await cafe.must(200, 'GET', '/v1/devices/t-1')).state, 'trusted', 'and has it back with it');
  });
});

describe('a broker of a tenant that is enrolled by command', { timeout: 120000 }, () => {
  let hub, cafe;
  before(async () => {
    hub = await Hub.start({}, { cliEnv: { PATH: `${dirname(programs.agent)}:${process.env.PATH}` } });
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: POLICY + TENANTS });
    cafe = await hub.in('cafe');
    await chmod(hub.folder, 0o755); // Mosquitto's user goes through it
  });
  after(() => hub?.stop());

  it('knows whose it is', async () => {
    const claim = join(hub.folder, 'mqtt-1.claim');
    const added = await cafe.cli('broker', 'add', 'mqtt-1', '--host', 'mqtt.example.com', '-o', claim);
    assert.equal(added.code, 0, added.stderr);
    const folder = join(hub.folder, 'holdfast');
    const done = await cafe.cli('broker', 'enrol', 'mqtt-1', '--hub', `localhost:${hub.ports.device},localhost:${hub.ports.bootstrap}`,
      '--claim-file', claim, '--host', 'mqtt.example.com', '--trust-bundle', join(hub.state, 'bundle'), '--folder', folder,
      '--mosquitto', join(hub.folder, 'holdfast.conf'), '--plugin', join(build, 'broker/holdfast_mosquitto.so'), '--yes');
    assert.equal(done.code, 0, done.stderr);
    for (const file of ['agent.conf', 'broker.conf']) assert.match(await readFile(join(folder, file), 'utf8'), /^tenant = cafe$/m);
    const pem = await readFile(join(folder, 'agent/copies/identity.pem'), 'utf8');
    assert.match(new X509Certificate(pem.slice(pem.indexOf('-----BEGIN CERTIFICATE'))).subjectAltName, /\/cafe\/device\/mqtt-1/);
    assert.equal((await cafe.must(200, 'GET', '/v1/brokers/mqtt-1')).state, 'trusted');
    assert.equal((await hub.api('GET', '/v1/brokers/mqtt-1')).status, 404);
  });
});
