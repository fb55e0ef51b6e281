// What other brokers ask over HTTP, in the words of their documents: requests as EMQX 5 and 4, NanoMQ, VerneMQ and
// mosquitto-go-auth make them, and the shapes of answers that they understand. Contracts, not the brokers themselves.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hub } from './lib/hub.mjs';
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
    for (const [path, body] of asked) assert.equal((await broker.ask(`mosquitto-go-auth/${path}`, body)).status, 403, path);
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
