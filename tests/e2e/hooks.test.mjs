// What other brokers ask over HTTP, in the words of their documents: requests as EMQX 5 and 4, NanoMQ, VerneMQ and
// mosquitto-go-auth make them, and the shapes of answers that they understand. Contracts, not the brokers themselves.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readFile } from 'node:fs/promises';
import { Hub, as, csrBody, enrolledDevice, keepCertificate, newKey, renew, until } from './lib/hub.mjs';
import { connect } from './lib/wire.mjs';
import { answerMisfits, operations } from './lib/contract.mjs';

const LATER = '2099-01-01T00:00:00Z';
const JSON_TYPE = 'application/json';
const FORM_TYPE = 'application/x-www-form-urlencoded';

// One broker: asks with its token, as a keep-alive client.
class Broker {
  constructor(hub, token) {
    this.hub = hub;
    this.authorization = `Bearer ${token}`;
  }

  async ask(path, body, { headers = {}, type = JSON_TYPE } = {}) {
    this.wire ??= await connect(this.hub, 'operator');
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const answer = await this.wire.request('POST', `/v1/hooks/${path}`, { headers: { Authorization: this.authorization, 'Content-Type': type, ...headers }, body: text });
    const one = operations.find((each) => each.path === `/v1/hooks/${path}`);
    assert.deepEqual(answerMisfits(one, { ...answer, body: answer.json ?? answer.body }), []);
    return answer;
  }

  form(path, fields) {
    return this.ask(path, new URLSearchParams(fields).toString(), { type: FORM_TYPE });
  }

  vernemq(hook, body) {
    return this.ask('vernemq', body, { headers: { 'vernemq-hook': hook } });
  }

  end() {
    this.wire?.destroy();
  }
}

const newToken = async (hub, name, scopes) => (await hub.must(201, 'POST', '/v1/tokens', { name, scopes, expires_at: LATER })).token;

const DENIED = { result: 'deny' };
const NOT_CONNECTED = { result: 'deny', is_superuser: false };
const NOT_ALLOWED = { result: { error: 'not_allowed' } };

describe('hooks of other brokers, before there is a policy', { timeout: 120000 }, () => {
  let hub;
  let broker;
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    await hub.claims('thermo-1');
    broker = new Broker(hub, await newToken(hub, 'mqtt', ['hooks']));
  });
  after(async () => {
    broker?.end();
    await hub?.stop();
  });

  it('deny all, each in the way that its broker takes for a no', async () => {
    const who = { username: 'default/thermo-1', clientid: 'thermo-1' };
    const authn = await broker.ask('emqx/authn', { ...who, password: 'x' });
    assert.deepEqual([authn.status, authn.headers['content-type'], authn.json], [200, JSON_TYPE, NOT_CONNECTED]);
    const authz = await broker.ask('emqx/authz', { ...who, topic: 'a', action: 'publish' });
    assert.deepEqual([authz.status, authz.headers['content-type'], authz.json], [200, JSON_TYPE, DENIED]);
    for (const hook of ['auth_on_register', 'auth_on_register_m5', 'auth_on_publish', 'auth_on_publish_m5', 'auth_on_subscribe', 'auth_on_subscribe_m5']) {
      const answer = await broker.vernemq(hook, { username: 'default/thermo-1', client_id: 'thermo-1', password: 'x', topic: 'a', topics: [{ topic: 'a', qos: 0 }] });
      assert.deepEqual([answer.status, answer.json], [200, NOT_ALLOWED], hook);
      assert.equal(answer.headers['cache-control'], 'no-store', 'VerneMQ keeps what has a max-age');
    }
    const forms = [['auth', { ...who, password: 'x' }], ['superuser', who], ['acl', { ...who, access: '1', topic: 'a' }]];
    for (const [path, fields] of forms) assert.equal((await broker.form(`emqx4/${path}`, fields)).status, 403, path);
    const asked = [['user', { ...who, password: 'x' }], ['superuser', who], ['acl', { ...who, acc: 1, topic: 'a' }]];
    for (const [path, body] of asked) {
      assert.equal((await broker.ask(`mosquitto-go-auth/${path}`, body)).status, 403, path);
      assert.equal((await broker.form(`mosquitto-go-auth/form/${path}`, body)).status, 403, path);
    }
  });

  it('say why, where there is room for it', async () => {
    const code = async (fields) => (await broker.form('emqx4/auth', fields)).json.code;
    assert.equal(await code({ username: 'default/thermo-1', clientid: 'thermo-1', password: 'x' }), 'hook-no-policy');
    assert.equal(await code({ username: 'nobody', clientid: 'nobody', password: 'x' }), 'hook-unknown-device');
    assert.equal(await code({ username: 'other/thermo-1', clientid: 'thermo-1', password: 'x' }), 'hook-unknown-device');
    assert.equal(await code({ username: 'thermo-1', clientid: 'other', password: 'x' }), 'hook-name');
    assert.equal(await code({}), 'hook-unknown-device');
    assert.equal((await broker.form('emqx4/superuser', {})).json.code, 'hook-no-superuser');
  });

  it('deny what can\'t be read, and do not answer with a status that EMQX would pass over', async () => {
    const long = 'x'.repeat(8000);
    const bodies = ['', '{', '[]', 'null', '{"username":1}', '{"username":"a","username":"b"}', '{"username":"a\\u0000b"}', `{"username":"${long}"}`, '{"clientid":"\\ud800"}', '{"cert_pem":"*"}'];
    for (const body of bodies) {
      const answer = await broker.ask('emqx/authn', body);
      assert.deepEqual([answer.status, answer.json], [200, NOT_CONNECTED], String(body).slice(0, 40));
    }
    for (const body of ['', '{}', '{"topic":"a","action":"own"}', '{"topic":"a","action":"PUBLISH"}', '{"topic":7,"action":"publish"}']) {
      const answer = await broker.ask('emqx/authz', body);
      assert.deepEqual([answer.status, answer.json], [200, DENIED], body);
    }
    for (const body of ['', '{', '{"topics":{}}', '{"topics":[{"topic":"a"}]}', '{"client_cert":"*"}'])
      assert.deepEqual((await broker.vernemq('auth_on_subscribe', body)).json, NOT_ALLOWED, body);
    for (const hook of [undefined, '', 'on_register', 'auth_on_register_m6', '_m5', 'auth_on_register\t'])
      assert.deepEqual((await broker.ask('vernemq', {}, { headers: hook === undefined ? {} : { 'vernemq-hook': hook } })).json, NOT_ALLOWED, hook);
    for (const body of ['username', 'username=%', 'username=%0', 'username=a%00', 'username=a&username=b', '&', 'username=%ff'])
      assert.equal((await broker.ask('emqx4/auth', body, { type: FORM_TYPE })).json.code, 'hook-form', body);
  });

  it('are for the tokens of brokers alone, in a header or in an address', async () => {
    const path = 'mosquitto-go-auth/superuser';
    const token = await newToken(hub, 'other', ['hooks']);
    const reader = await newToken(hub, 'reader', ['ledger', 'metrics']);
    const basic = (name, secret) => `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`;
    for (const Authorization of [`Bearer ${token}`, basic('broker', token), basic('', token)])
      assert.equal((await broker.ask(path, {}, { headers: { Authorization } })).status, 403);
    for (const Authorization of [`Bearer ${reader}`, basic('broker', reader), basic(token, ''), `Basic ${token}`, 'Basic', 'Basic ====', `Bearer ${token}x`, basic('broker', `${token}x`)]) {
      const one = new Broker(hub, '');
      const answer = await one.ask(path, {}, { headers: { Authorization } });
      assert.deepEqual([answer.status, answer.json.code], [401, 'token-refused'], Authorization);
      one.end();
    }
    const wire = await connect(hub, 'operator');
    const metrics = await wire.request('GET', '/metrics', { headers: { Authorization: basic('broker', reader) } });
    assert.equal(metrics.status, 401, 'a reader has a header');
    wire.destroy();
    assert.deepEqual((await hub.must(200, 'GET', '/v1/tokens')).tokens.find(({ name }) => name === 'other').scopes, ['hooks']);
  });

  it('leave findings, and no acts', async () => {
    const before = await hub.acts();
    for (let i = 0; i < 20; i++) await broker.form('emqx4/auth', { username: 'thermo-1', clientid: 'thermo-1', password: `x${i}` });
    assert.equal(await hub.acts(), before);
    assert.ok((await hub.metrics()).get('holdfast_hook_decisions_total{verdict="hook-no-policy"}') >= 20);
  });

  it('make no passwords either', async () => {
    const answer = await hub.api('POST', '/v1/devices/thermo-1/password');
    assert.deepEqual([answer.status, answer.body.code], [409, 'password-not-allowed']);
    const said = await hub.cli('device', 'password', 'thermo-1');
    assert.notEqual(said.code, 0);
    assert.match(said.stderr, /does not let devices of the model 'thermo' have passwords/);
    assert.equal((await hub.api('POST', '/v1/devices/nobody/password')).body.code, 'device-not-found');
    assert.equal((await hub.api('DELETE', '/v1/devices/thermo-1/password')).body.code, 'password-not-found');
  });
});

const POLICY = (more = '') => `holdfast: 1
fleet: fleet.example
groups:
  floor-1: {subscribe: ["floor/{group}/+"]}
models:
  thermo:
    identity: {maker: acme, lifetime: 10d}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#", "all/+"]
    limits: {stale: 2h}
  meter:
    identity: {maker: acme, lifetime: 30d}
    password: true
    publish: ["meter/{device}/#"]
    subscribe: ["meter/{device}/set"]
    limits: {stale: none}
${more}`;

describe('hooks of other brokers, with a policy in force', { timeout: 240000 }, () => {
  let hub;
  let broker;
  let thermo; // a device with a certificate
  let certificate; // of it, as base64 of its DER
  let password; // of the device meter-1
  const meter = { username: 'default/meter-1', clientid: 'meter-1' };

  const base64Of = async (device) => /-----BEGIN CERTIFICATE-----([^-]+)-----/.exec(await readFile(device.certificate, 'utf8'))[1].replace(/\s/g, '');
  const authn = async (body) => (await broker.ask('emqx/authn', body)).json;
  const authz = async (body) => (await broker.ask('emqx/authz', body)).json.result;
  const move = (id, verb) => hub.must(200, 'POST', `/v1/devices/${id}/${verb}`, { reason: 'a test' });
  const addMeter = async (...serials) => hub.must(201, 'POST', '/v1/manifests/meters/devices', { rows: serials.map((serial) => ({ serial, claim: { expires_at: LATER } })) });
  const makePassword = async (id) => (await hub.must(201, 'POST', `/v1/devices/${id}/password`)).password;

  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    thermo = await enrolledDevice(hub, 'thermo-1');
    await enrolledDevice(hub, 'thermo-2');
    certificate = await base64Of(thermo);
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: POLICY() });
    await hub.must(201, 'POST', '/v1/manifests', { id: 'meters', model: 'meter', owner: 'acme' });
    await addMeter('meter-1', 'meter-2');
    password = await makePassword('meter-1');
    broker = new Broker(hub, await newToken(hub, 'mqtt', ['hooks']));
  });
  after(async () => {
    broker?.end();
    await hub?.stop();
  });

  it('EMQX 5: let a certificate in, and say who it is', async () => {
    const answer = await authn({ username: '', clientid: 'thermo-1', password: '', cert_pem: certificate, cert_common_name: 'thermo-1', cert_subject: 'CN=thermo-1', peerhost: '127.0.0.1', peerport: 4711 });
    const { expire_at: expires, ...rest } = answer;
    assert.deepEqual(rest, { result: 'allow', is_superuser: false, client_attrs: { device: 'default/thermo-1', model: 'thermo' } });
    const { certificate: shown } = await hub.must(200, 'GET', '/v1/devices/thermo-1');
    assert.equal(expires, Date.parse(shown.not_after) / 1000);
    await until('the certificate is confirmed', async () => (await hub.must(200, 'GET', '/v1/devices/thermo-1')).certificate.status === 'active');
    await hub.must(200, 'PUT', '/v1/devices/thermo-1/group', { group: 'floor-1' });
    assert.equal((await authn({ clientid: 'thermo-1', cert_pem: certificate })).client_attrs.group, 'floor-1');
    // what older versions have instead
    assert.equal((await authn({ username: 'undefined', clientid: 'thermo-1', password: 'undefined', cert_common_name: 'thermo-1' })).result, 'allow');
  });

  it('EMQX 5: give the rules with the answer where they are asked for', async () => {
    const { acl, expire_at: expires } = await authn({ clientid: 'thermo-1', cert_pem: certificate, acl: 'preset' });
    const allow = (action, topic) => ({ permission: 'allow', action, topic });
    assert.deepEqual(acl, [allow('publish', 'fleet/thermo-1/up/#'), allow('subscribe', 'fleet/thermo-1/down/#')], 'not all/+, which would pass all/#');
    assert.ok(Math.abs(expires - Date.now() / 1000 - 7200) < 60, 'as long as a broker may go by what it knows');
    assert.equal((await authn({ ...meter, password, acl: 'preset' })).acl, undefined, 'a model without such a time');
    assert.equal((await authn({ ...meter, password: 'x', acl: 'preset' })).acl, undefined);
  });

  it('EMQX 5: let nobody in by another\'s certificate, name or client id', async () => {
    const cases = [
      { clientid: 'thermo-2', cert_pem: certificate },
      { username: 'thermo-2', clientid: 'thermo-1', cert_pem: certificate },
      { clientid: 'thermo-2', cert_common_name: 'thermo-1' },
      { clientid: '', cert_pem: certificate },
      { cert_pem: certificate },
      { clientid: 'thermo-1', cert_pem: certificate.slice(4) },
      { clientid: 'thermo-1', cert_pem: 'AAAA', cert_common_name: 'thermo-1' },
      { clientid: 'thermo-1', username: 'thermo-1' },
      { clientid: 'thermo-1', username: 'thermo-1', password: 'x' },
      { clientid: 'meter-1', cert_common_name: 'meter-1' },
      { ...meter, password: `${password}x` },
      { ...meter, password: password.toLowerCase() },
      { ...meter, password: password.replaceAll('-', '') },
      { ...meter, clientid: 'meter-2', password },
      { ...meter, username: 'default/meter-2', clientid: 'meter-2', password },
      { clientid: 'meter-1', password },
    ];
    for (const one of cases) assert.deepEqual(await authn(one), NOT_CONNECTED, JSON.stringify(one).slice(0, 80));
  });

  it('EMQX 5: a password, until its end', async () => {
    const answer = await authn({ ...meter, password });
    assert.equal(answer.result, 'allow');
    const shown = (await hub.must(200, 'GET', '/v1/devices/meter-1')).password;
    assert.equal(answer.expire_at, Date.parse(shown.expires_at) / 1000);
    assert.ok(Math.abs(answer.expire_at - Date.now() / 1000 - 30 * 86400) < 120);
  });

  it('EMQX 5: topics by the policy, and never a word that is none', async () => {
    const who = { username: 'default/thermo-1', clientid: 'thermo-1' };
    const cases = [
      ['publish', 'fleet/thermo-1/up/t', 'allow'],
      ['publish', 'fleet/thermo-1/up', 'allow'],
      ['publish', 'fleet/thermo-2/up/t', 'deny'],
      ['publish', 'fleet/thermo-1/up/#', 'deny'],
      ['publish', 'fleet/thermo-1/up/+', 'deny'],
      ['publish', '', 'deny'],
      ['publish', `fleet/thermo-1/up/${'x'.repeat(65000)}`, 'allow'],
      ['publish', `fleet/thermo-1/up/${'x'.repeat(65535)}`, 'deny'],
      ['publish', `fleet/thermo-1/up${'/'.repeat(300)}`, 'deny'],
      ['subscribe', 'fleet/thermo-1/down/#', 'allow'],
      ['subscribe', 'fleet/+/down/#', 'deny'],
      ['subscribe', 'all/+', 'allow'],
      ['subscribe', 'all/#', 'deny'],
      ['subscribe', 'floor/floor-1/+', 'allow'],
      ['subscribe', '#', 'deny'],
      ['subscribe', '$share/g/fleet/thermo-1/down/#', 'deny'],
      ['subscribe', '$SYS/#', 'deny'],
    ];
    for (const [action, topic, expected] of cases) assert.equal(await authz({ ...who, action, topic, qos: '0', retain: 'false' }), expected, `${action} ${topic.slice(0, 60)}`);
    assert.equal(await authz({ username: 'default/thermo-1', action: 'publish', topic: 'fleet/thermo-1/up/t' }), 'allow', 'as its documents show it');
    assert.equal(await authz({ clientid: 'thermo-1', cert_pem: certificate, action: 'publish', topic: 'fleet/thermo-1/up/t' }), 'allow');
    assert.equal(await authz({ username: 'default/thermo-1', clientid: 'thermo-2', action: 'publish', topic: 'fleet/thermo-1/up/t' }), 'deny');
  });

  it('EMQX 4 and NanoMQ: forms, answered by the status', async () => {
    const yes = await broker.form('emqx4/auth', { ...meter, password });
    assert.deepEqual([yes.status, yes.headers['content-type'], yes.body.toString()], [200, 'text/plain', 'allow']);
    assert.equal((await broker.form('emqx4/auth', { clientid: 'thermo-1', username: 'thermo-1', password: '', cert_common_name: 'thermo-1' })).status, 200);
    assert.equal((await broker.form('emqx4/auth', { ...meter, password: 'wrong' })).json.code, 'hook-password');
    assert.equal((await broker.form('emqx4/superuser', meter)).status, 403);
    const acl = (fields) => broker.form('emqx4/acl', { ...meter, ipaddr: '127.0.0.1', mountpoint: '', ...fields });
    assert.equal((await acl({ access: '2', topic: 'meter/meter-1/kWh' })).status, 200);
    assert.equal((await acl({ access: '1', topic: 'meter/meter-1/set' })).status, 200);
    assert.equal((await acl({ access: '1', topic: 'meter/meter-1/set,meter/meter-1/set' })).status, 200);
    for (const [access, topic] of [['1', 'meter/meter-1/set,#'], ['1', '#'], ['1', 'meter/meter-1/set,'], ['1', ','.repeat(2000)], ['2', 'meter/meter-2/kWh'], ['2', 'meter/meter-1/#']])
      assert.equal((await acl({ access, topic })).status, 403, `${access} ${topic.slice(0, 40)}`);
    assert.equal((await acl({ access: '3', topic: 'meter/meter-1/kWh' })).json.code, 'hook-form');
  });

  it('VerneMQ: hooks by their header, also of MQTT 5', async () => {
    const peer = { peer_addr: '127.0.0.1', peer_port: 8888, mountpoint: '' };
    for (const suffix of ['', '_m5']) {
      const extra = suffix === '' ? { clean_session: false } : { clean_start: true, properties: { p_user_property: [{ key: 'a', val: 'b' }] }, listener_addr: null, listener_port: null, listener_type: 'mqtts' };
      const register = async (body) => (await broker.vernemq(`auth_on_register${suffix}`, { ...peer, ...extra, ...body })).json;
      assert.deepEqual(await register({ username: 'default/meter-1', password, client_id: 'meter-1' }), { result: 'ok' });
      assert.deepEqual(await register({ username: null, password: null, client_id: 'thermo-1', client_cert: certificate }), { result: 'ok' });
      assert.deepEqual(await register({ username: 'default/meter-1', password: null, client_id: 'meter-1' }), NOT_ALLOWED, 'a name alone, which may have come out of a certificate or not');
      const publish = async (topic) => (await broker.vernemq(`auth_on_publish${suffix}`, { username: 'default/meter-1', client_id: 'meter-1', mountpoint: '', qos: 1, topic, payload: 'aGVsbG8=', retain: false, ...(suffix ? { properties: {} } : {}) })).json;
      assert.deepEqual(await publish('meter/meter-1/kWh'), { result: 'ok' });
      assert.deepEqual(await publish('meter/meter-2/kWh'), NOT_ALLOWED);
      const subscribe = async (...topics) => (await broker.vernemq(`auth_on_subscribe${suffix}`, { client_id: 'meter-1', mountpoint: '', username: 'default/meter-1', topics: topics.map((topic) => ({ topic, qos: 1 })) })).json;
      assert.deepEqual(await subscribe('meter/meter-1/set'), { result: 'ok' });
      assert.deepEqual(await subscribe('#', 'meter/meter-2/set'), NOT_ALLOWED);
      const some = [{ topic: 'meter/meter-1/set', qos: 1 }, { topic: '#', qos: suffix ? 135 : 128 }];
      assert.deepEqual(await subscribe('meter/meter-1/set', '#'), suffix ? { result: 'ok', modifiers: { topics: some } } : { result: 'ok', topics: some });
      assert.deepEqual(await subscribe(), NOT_ALLOWED);
    }
  });

  it('mosquitto-go-auth: user and acl, by the status and by the body', async () => {
    const yes = await broker.ask('mosquitto-go-auth/user', { ...meter, password });
    assert.deepEqual([yes.status, yes.json], [200, { ok: true, error: '' }]);
    assert.equal((await broker.ask('mosquitto-go-auth/user', { ...meter, password: 'x' })).status, 403);
    assert.equal((await broker.ask('mosquitto-go-auth/superuser', { username: meter.username })).status, 403);
    const acl = async (topic, acc) => (await broker.ask('mosquitto-go-auth/acl', { ...meter, topic, acc })).status;
    const cases = [['meter/meter-1/kWh', 2, 200], ['meter/meter-1/set', 4, 200], ['meter/meter-1/set', 1, 200], ['meter/meter-1/set', 3, 200], ['meter/meter-1/kWh', 1, 403], ['meter/meter-1/kWh', 3, 403], ['#', 4, 403], ['meter/meter-2/kWh', 2, 403], ['meter/meter-1/set', 0, 403], ['meter/meter-1/set', 8, 403], ['meter/meter-1/set', 12, 403]];
    for (const [topic, acc, expected] of cases) assert.equal(await acl(topic, acc), expected, `${topic} ${acc}`);

    // http_params_mode form: as Go's PostForm encodes url.Values.
    const form = (path, fields) => broker.form(`mosquitto-go-auth/form/${path}`, fields);
    const allowed = await form('user', { ...meter, password });
    assert.deepEqual([allowed.status, allowed.headers['content-type'], allowed.body.toString()], [200, 'text/plain', 'ok'], 'all of the body is the word');
    assert.equal((await form('user', { ...meter, password: 'x' })).status, 403);
    assert.equal((await form('superuser', { username: meter.username })).json.code, 'hook-no-superuser');
    for (const [topic, acc, expected] of cases) assert.equal((await form('acl', { ...meter, topic, acc })).status, expected, `${topic} ${acc}`);
    for (const body of ['', 'topic=meter/meter-1/kWh', 'acc=2', 'topic=a&acc=', 'topic=a&acc=x', 'topic=a&acc=2&acc=2', 'topic=a&acc=-1', 'topic=a&acc=16', 'topic=a%00&acc=2', 'topic=%ff&acc=2'])
      assert.equal((await broker.ask('mosquitto-go-auth/form/acl', body, { type: FORM_TYPE })).json.code, 'hook-form', body);
    assert.equal((await broker.ask('mosquitto-go-auth/form/user', { ...meter, password })).status, 415, 'a form is none in JSON');
  });

  it('see in the middle of a session that a device is cut off, and let it back in', async () => {
    const topic = 'meter/meter-1/kWh';
    const may = () => authz({ username: 'default/meter-1', clientid: 'meter-1', action: 'publish', topic });
    assert.equal(await may(), 'allow');
    await move('meter-1', 'quarantine');
    assert.equal(await may(), 'deny');
    assert.deepEqual(await authn({ ...meter, password }), NOT_CONNECTED);
    await move('meter-1', 'release');
    assert.equal(await may(), 'allow');
    assert.equal((await authn({ ...meter, password })).result, 'allow');
    await move('thermo-2', 'revoke');
    assert.equal(await authz({ username: 'thermo-2', clientid: 'thermo-2', action: 'publish', topic: 'fleet/thermo-2/up/t' }), 'deny');
    assert.deepEqual(await authn({ clientid: 'thermo-2', cert_common_name: 'thermo-2' }), NOT_CONNECTED);
  });

  it('refuse a certificate that was replaced, once the new one was used', async () => {
    const key = await newKey(`${hub.folder}/thermo-1.new.key`);
    const renewed = await keepCertificate(await renew(hub, thermo, await csrBody(key, '/CN=thermo-1')), `${hub.folder}/thermo-1.new.crt`);
    const next = { ...thermo, certificate: renewed, key };
    assert.equal((await as(hub, next, '/v1/device/self')).status, 200);
    await until('the old one is retired', async () => (await authn({ clientid: 'thermo-1', cert_pem: certificate })).result === 'deny');
    assert.equal((await authn({ clientid: 'thermo-1', cert_pem: await base64Of(next) })).result, 'allow');
    assert.equal(await authz({ clientid: 'thermo-1', cert_pem: certificate, action: 'publish', topic: 'fleet/thermo-1/up/t' }), 'deny');
  });

  it('rotate a password with an overlap, and take it away', async () => {
    await addMeter('meter-3');
    const who = { username: 'meter-3', clientid: 'meter-3' };
    const made = await hub.cli('device', 'password', 'meter-3');
    assert.equal(made.code, 0, made.stderr);
    const first = made.stdout.trim();
    assert.match(first, /^([0-9A-Z]{5}-){4}[0-9A-Z]{6}$/);
    assert.match(made.stderr, /told this once/);
    assert.equal((await authn({ ...who, password: first })).result, 'allow');
    await until('its use is noted', async () => (await hub.must(200, 'GET', '/v1/devices/meter-3')).password.used_at);
    const second = JSON.parse((await hub.cli('device', 'password', 'meter-3', '--json')).stdout);
    assert.equal((await authn({ ...who, password: first })).result, 'allow', 'until the new one is used');
    assert.ok(Date.parse(second.previous_until) - Date.now() <= 86400000);
    assert.equal((await authn({ ...who, password: second.password })).result, 'allow');
    await until('the one before is gone', async () => (await authn({ ...who, password: first })).result === 'deny');
    assert.match((await hub.cli('device', 'show', 'meter-3')).stdout, /password .*weaker kind/);
    assert.match((await hub.cli('device', 'list')).stdout, /meter-3 +trusted +password/);
    const file = `${hub.folder}/meter-3.password`;
    assert.equal((await hub.cli('device', 'password', 'meter-3', '-o', file)).code, 0);
    assert.equal((await authn({ ...who, password: (await readFile(file, 'utf8')).trim() })).result, 'allow');
    assert.equal((await hub.cli('device', 'password', 'meter-3', '--remove', '--yes')).code, 0);
    assert.deepEqual(await authn({ ...who, password: second.password }), NOT_CONNECTED);
    assert.equal((await hub.must(200, 'GET', '/v1/devices/meter-3')).state, 'expected');
    const acts = (await hub.ledger()).filter(({ subject, act }) => subject === 'device/meter-3' && act.includes('password')).map(({ act }) => act.slice('device.'.length));
    assert.deepEqual(acts, ['password-make', 'password-use', 'password-make', 'password-use', 'password-make', 'password-use', 'password-remove']);
    for (const secret of [first, second.password]) {
      assert.ok(!hub.log.includes(secret));
      assert.ok(!JSON.stringify(await hub.ledger()).includes(secret));
    }
  });

  it('follow the policy: a model whose passwords it forbids has none that works', async () => {
    const { number } = await hub.must(200, 'GET', '/v1/policy');
    const without = POLICY().replace('    password: true\n', '');
    await hub.must(201, 'POST', '/v1/policies', { from: number, text: without });
    assert.deepEqual(await authn({ ...meter, password }), NOT_CONNECTED);
    assert.equal((await hub.api('POST', '/v1/devices/meter-2/password')).body.code, 'password-not-allowed');
    const certified = await hub.api('POST', '/v1/devices/thermo-1/password');
    assert.equal(certified.body.code, 'password-not-allowed');
    await hub.must(201, 'POST', '/v1/policies', { from: number + 1, text: POLICY().replace('publish: ["fleet', 'password: true\n    publish: ["fleet') });
    assert.equal((await authn({ ...meter, password })).result, 'allow');
    const refused = await hub.api('POST', '/v1/devices/thermo-1/password');
    assert.deepEqual([refused.status, refused.body.code], [409, 'password-not-possible']);
  });
});
