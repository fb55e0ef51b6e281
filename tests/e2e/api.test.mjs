// The contract: every operation answers as api/openapi.yaml says, on each listener, and nowhere else.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { growTo } from './lib/ledger.mjs';
import { Hub, as, csrBody, curl, enrol, enrolledDevice, keepCertificate, newKey, openssl, plain, renew, until } from './lib/hub.mjs';
import { connect } from './lib/wire.mjs';
import { answerMisfits, contract, follow, misfits, operation, operations } from './lib/contract.mjs';

const LATER = '2099-01-01T00:00:00Z';
const LISTENERS = ['device', 'bootstrap', 'operator', 'status', 'local'];
const MODEL = { id: 'sensor', maker: 'acme', proof: 'manifest', key_kinds: ['P-256', 'Ed25519'], lifetime_seconds: 86400, enrolled_lifetime_seconds: 600 };

const assertFits = (id, answer) => assert.deepEqual(answerMisfits(operation(id), answer), []);

// A path of an operation with something in the place of each parameter.
const filled = ({ path, parameters }) => path.replace(/\{(\w+)\}/g, (_, name) => parameters.find((one) => one.name === name).example);

// Over the local socket with a media type of its own.
async function curlLocal(hub, method, path, file, type) {
  const { stdout } = await promisify(execFile)('curl', ['-sS', '-i', '--unix-socket', hub.socket, '-X', method, '-H', `Content-Type: ${type}`, '--data-binary', `@${file}`, `http://localhost${path}`]);
  const split = stdout.indexOf('\r\n\r\n');
  const [first, ...lines] = stdout.slice(0, split).split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  return { status: Number(first.split(' ')[1]), headers, body: stdout.length > split + 4 ? JSON.parse(stdout.slice(split + 4)) : Buffer.alloc(0) };
}

describe('the contract', { timeout: 180000 }, () => {
  let hub;
  let device;
  let tokens;
  before(async () => {
    hub = await Hub.start({ 'public-per-minute': '100000', 'connections-per-address': '1000', 'listen-status': '127.0.0.1:0', 'status-per-minute': '100000' });
    await hub.factory();
    device = await enrolledDevice(hub, 'good');
    tokens = {};
    for (const scope of ['ledger', 'metrics'])
      tokens[scope] = (await hub.must(201, 'POST', '/v1/tokens', { name: `for-${scope}`, scopes: [scope], expires_at: LATER })).token;
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
  });
  after(() => hub.stop());

  const ask = async (listener, method, path, { headers, body, withDevice } = {}) => {
    if (listener === 'local') return hub.api(method, path, body);
    if (listener === 'status') {
      const answer = await plain(hub, method, path, { headers, body });
      return { ...answer, body: answer.json ?? answer.body };
    }
    const wire = await connect(hub, listener, { device: withDevice ?? (listener === 'device' ? device : undefined) });
    try {
      const answer = await wire.request(method, path, { headers, body });
      return { ...answer, body: answer.json ?? answer.body };
    } finally {
      wire.destroy();
    }
  };

  for (const listener of LISTENERS) {
    it(`serves on the listener ${listener} what is meant for it, and nothing else`, async () => {
      for (const one of operations) {
        const answer = await ask(listener, one.method, filled(one));
        if (!one.listeners.includes(listener)) {
          assert.ok([404, 405].includes(answer.status), `${one.id}: ${answer.status}`);
          assert.match(answer.body.code, /^(route-not-found|method-not-allowed)$/, one.id);
          continue;
        }
        assert.notEqual(answer.body?.code, 'route-not-found', one.id);
        assert.notEqual(answer.status, 405, one.id);
        assertFits(one.id, answer);
        if (/^token-/.test(one.caller(listener))) assert.equal(answer.status, 401, one.id);
      }
    });
  }

  it('lets nobody use the local socket over TLS, nor a token where it is not for', async () => {
    for (const one of operations) {
      const callers = Object.fromEntries(one.listeners.map((listener) => [listener, one.caller(listener)]));
      for (const scope of ['ledger', 'metrics']) {
        const answer = await ask('operator', one.method, filled(one), { headers: { Authorization: `Bearer ${tokens[scope]}` } });
        const expected = callers.operator === `token-${scope}` || callers.operator === 'public';
        assert.equal(answer.status < 400 || answer.body.code === 'tile-not-found', expected, `${one.id} with ${scope}: ${answer.status}`);
      }
    }
  });

  it('answers every operation as it is described', async () => {
    const done = new Set();
    // Over the local socket.
    const local = async (id, path, status, body) => {
      const { method } = operation(id);
      const answer = await hub.api(method, path, body);
      assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
      assertFits(id, answer);
      if (status < 300) done.add(id);
      return answer.body;
    };
    const remote = async (id, listener, path, status, options) => {
      const { method } = operation(id);
      const answer = await ask(listener, method, path, options);
      assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
      assertFits(id, answer);
      if (status < 300 || status === 501) done.add(id);
      return answer;
    };

    await local('model_create', '/v1/models', 201, MODEL);
    assert.equal((await local('model_create', '/v1/models', 409, MODEL)).code, 'model-exists');
    await local('model_list', '/v1/models', 200);
    assert.equal((await local('model_show', '/v1/models/sensor', 200)).maker, 'acme');
    assert.equal((await local('model_show', '/v1/models/nothing', 404)).code, 'model-not-found');
    const changed = await local('model_change', '/v1/models/sensor', 200, { lifetime_seconds: 7200, proof: 'approval', grace_seconds: 0 });
    assert.deepEqual([changed.lifetime_seconds, changed.proof, changed.grace_seconds, changed.key_kinds], [7200, 'approval', 0, ['P-256', 'Ed25519']]);
    await local('model_change', '/v1/models/sensor', 200, { proof: 'manifest' });
    assert.equal((await local('model_change', '/v1/models/sensor', 400, {})).code, 'field-missing');
    assert.equal((await local('model_change', '/v1/models/nothing', 404, { proof: 'manifest' })).code, 'model-not-found');
    assert.equal((await local('model_change', '/v1/models/sensor', 400, { maker: 'other' })).field, 'maker');

    await local('manifest_create', '/v1/manifests', 201, { id: 'lot', model: 'sensor', owner: 'hospital' });
    assert.equal((await local('manifest_create', '/v1/manifests', 409, { id: 'lot', model: 'sensor', owner: 'hospital' })).code, 'manifest-exists');
    assert.equal((await local('manifest_create', '/v1/manifests', 404, { id: 'lot2', model: 'nothing', owner: 'x' })).code, 'model-not-found');
    await local('manifest_list', '/v1/manifests', 200);
    assert.equal((await local('manifest_show', '/v1/manifests/lot', 200)).devices, 0);
    assert.equal((await local('manifest_show', '/v1/manifests/nothing', 404)).code, 'manifest-not-found');
    assert.equal((await local('model_delete', '/v1/models/sensor', 409)).code, 'model-in-use');
    await local('model_create', '/v1/models', 201, { ...MODEL, id: 'brief' });
    await local('model_delete', '/v1/models/brief', 204);
    assert.equal((await local('model_delete', '/v1/models/brief', 404)).code, 'model-not-found');

    const pinned = '5a'.repeat(32);
    const rows = [{ serial: 's-1', claim: { expires_at: LATER } }, { serial: 's-2', key_sha256: pinned.toUpperCase() }];
    const { devices } = await local('manifest_add_devices', '/v1/manifests/lot/devices', 201, { rows });
    assert.deepEqual(devices.map(({ serial }) => serial), ['s-1', 's-2']);
    assert.ok(devices[0].claim_code && !devices[1].claim_code);
    assert.equal((await local('manifest_add_devices', '/v1/manifests/nothing/devices', 404, { rows })).code, 'manifest-not-found');
    assert.equal((await local('manifest_add_devices', '/v1/manifests/lot/devices', 409, { rows })).code, 'device-exists');
    assert.equal((await local('manifest_add_devices', '/v1/manifests/lot/devices', 409, { rows: [{ serial: 's-3', key_sha256: pinned }] })).code, 'key-in-use');
    assert.equal((await local('manifest_show', '/v1/manifests/lot', 200)).devices, 2);

    await local('device_list', '/v1/devices', 200);
    const shown = await local('device_show', '/v1/devices/s-1', 200);
    assert.deepEqual([shown.model, shown.owner, shown.manifest, shown.state, shown.credential, shown.claim_expires_at], ['sensor', 'hospital', 'lot', 'expected', 'claim', LATER]);
    assert.equal((await local('device_show', '/v1/devices/nothing', 404)).code, 'device-not-found');
    const claim = await local('device_claim', '/v1/devices/s-1/claim', 201, { expires_at: LATER });
    assert.notEqual(claim.claim_code, devices[0].claim_code);
    assert.equal((await local('device_claim', '/v1/devices/good/claim', 409, { expires_at: LATER })).code, 'device-not-expected');
    assert.equal((await local('device_claim', '/v1/devices/s-2/claim', 409, { expires_at: LATER })).code, 'device-not-expected');
    await local('device_certificates', '/v1/devices/good/certificates', 200);
    assert.equal((await local('device_certificates', '/v1/devices/nothing/certificates', 404)).code, 'device-not-found');

    await local('model_change', '/v1/models/sensor', 200, { proof: 'approval' });
    const key = await newKey(join(hub.folder, 's-1.key'));
    const body = await csrBody(key, '/CN=s-1');
    assert.equal((await enrol(hub, 's-1', claim.claim_code, body)).status, 200);
    await local('device_approve', '/v1/devices/s-1/approve', 200, { reason: 'seen' });
    await local('device_quarantine', '/v1/devices/s-1/quarantine', 200, { reason: 'odd' });
    assert.equal((await local('device_cut', '/v1/devices/s-1/cut', 200)).status, 'complete');
    assert.deepEqual((await local('cut_list', '/v1/cuts?status=open', 200)).cuts, []);
    assert.equal((await local('cut_count', '/v1/cuts/count?move=release&model=sensor', 200)).devices, 1);
    await local('cut_create', '/v1/cuts', 200, { move: 'retire', reason: 'none is in it', model: 'none' });
    await local('cut_create', '/v1/cuts', 404, { move: 'retire', reason: 'x', devices: [{ id: 'nobody' }] });
    await local('device_cut', '/v1/devices/s-2/cut', 404);
    assert.deepEqual((await local('cut_waiting_list', '/v1/cuts/waiting', 200)).waiting, []);
    assert.equal((await local('device_dismiss', '/v1/devices/s-1/dismiss', 404, { reason: 'none' })).code, 'cut-not-waiting');
    assert.equal((await local('device_dismiss', '/v1/devices/nothing/dismiss', 404, { reason: 'none' })).code, 'device-not-found');
    await local('device_release', '/v1/devices/s-1/release', 200, { reason: 'well' });
    await local('device_revoke', '/v1/devices/s-1/revoke', 200, { reason: 'lost' });
    await local('device_retire', '/v1/devices/s-2/retire', 200, { reason: 'old' });
    assert.equal((await local('device_revoke', '/v1/devices/s-2/revoke', 409, { reason: 'x' })).code, 'move-not-possible');

    const { subjects } = await local('subject_list', '/v1/subjects', 200);
    assert.ok(subjects.some(({ name, state }) => name === 'hospital' && state === 'known'));
    const hospital = await local('subject_show', '/v1/subjects/hospital', 200);
    assert.equal(hospital.subject, shown.subject);
    assert.equal((await local('subject_show', '/v1/subjects/nobody', 404)).code, 'subject-not-found');
    assert.equal((await local('subject_erase', '/v1/subjects/hospital/erase', 200)).state, 'erased');
    assert.equal((await local('subject_erase', `/v1/subjects/${hospital.subject}/erase`, 409)).code, 'subject-erased');
    assert.equal((await local('subject_erase', '/v1/subjects/hospital/erase', 404)).code, 'subject-not-found');
    await until('the good device is confirmed', async () => (await hub.must(200, 'GET', '/v1/devices/good')).certificate.status === 'active');
    const soon = new Date(Date.now() + 3600000).toISOString().replace(/\.\d+/, '');
    assert.equal((await local('device_readmit', '/v1/devices/good/readmit', 200, { reason: 'found', expires_at: soon })).state, 'trusted');
    assert.equal((await local('device_readmit', '/v1/devices/good/readmit', 400, { reason: 'found', expires_at: LATER })).field, 'expires_at');
    assert.equal((await local('device_readmit', '/v1/devices/s-2/readmit', 409, { reason: 'found', expires_at: soon })).code, 'not-readmittable');
    assert.equal((await local('device_readmit', '/v1/devices/nobody/readmit', 404, { reason: 'found', expires_at: soon })).code, 'device-not-found');

    assert.equal((await local('ledger_archive', '/v1/ledger/archive', 409, { before: 512, where: 'elsewhere' })).code, 'archive-conflict');
    assert.equal((await local('ledger_archive', '/v1/ledger/archive', 400, { before: 1, where: 'elsewhere' })).field, 'before');
    const rotation = await local('rotation_create', '/v1/rotations', 201, { reason: 'yearly', over_seconds: 7776000, devices: [{ id: 'good' }] });
    assert.deepEqual([rotation.phase, rotation.devices, rotation.waiting], ['running', 1, 1]);
    assert.equal((await local('rotation_create', '/v1/rotations', 400, { reason: 'x', over_seconds: 0, devices: [{ id: 'good' }], model: 'sensor' })).code, 'rotation-both');
    assert.equal((await local('rotation_create', '/v1/rotations', 404, { reason: 'x', over_seconds: 0, devices: [{ id: 'nothing' }] })).code, 'device-not-found');
    assert.equal((await local('rotation_create', '/v1/rotations', 409, { reason: 'x', over_seconds: 0, devices: [{ id: 's-2' }] })).code, 'device-not-renewable');
    assert.deepEqual(await local('rotation_show', `/v1/rotations/${rotation.id}`, 200), rotation);
    assert.equal((await local('rotation_show', '/v1/rotations/nothing', 404)).code, 'rotation-not-found');
    const { stragglers: [straggler] } = await local('rotation_stragglers', `/v1/rotations/${rotation.id}/stragglers`, 200);
    assert.deepEqual([straggler.device, straggler.state], ['good', 'trusted']);
    assert.equal((await local('rotation_stragglers', '/v1/rotations/nothing/stragglers', 404)).code, 'rotation-not-found');
    assert.equal((await local('rotation_cancel', `/v1/rotations/${rotation.id}/cancel`, 200, { reason: 'x' })).phase, 'cancelled');
    assert.equal((await local('rotation_cancel', `/v1/rotations/${rotation.id}/cancel`, 409, { reason: 'x' })).code, 'rotation-ended');
    const due = await local('rotation_create', '/v1/rotations', 201, { reason: 'now', over_seconds: 0, devices: [{ id: 'good' }] });
    await local('rotation_list', '/v1/rotations', 200);

    await local('token_create', '/v1/tokens', 201, { name: 'both', scopes: ['ledger', 'metrics'], expires_at: LATER });
    assert.equal((await local('token_create', '/v1/tokens', 409, { name: 'both', scopes: ['ledger'], expires_at: LATER })).code, 'token-exists');
    assert.equal((await local('token_create', '/v1/tokens', 400, { name: 'late', scopes: ['ledger'], expires_at: '2001-01-01T00:00:00Z' })).field, 'expires_at');
    const listed = await local('token_list', '/v1/tokens', 200);
    assert.deepEqual(listed.tokens.map(({ name }) => name), ['both', 'for-ledger', 'for-metrics']);
    assert.ok(!JSON.stringify(listed).includes('hf~'));
    await local('token_delete', '/v1/tokens/both', 204);
    assert.equal((await local('token_delete', '/v1/tokens/both', 404)).code, 'token-not-found');

    await local('hub_show', '/v1/hub', 200);
    await local('health_show', '/v1/health', 200);
    await remote('health_show', 'operator', '/v1/health', 200);
    await local('metrics_show', '/metrics', 200);
    await remote('metrics_show', 'operator', '/metrics', 200, { headers: { Authorization: `Bearer ${tokens.metrics}` } });
    await local('ledger_entries', '/v1/ledger/entries?limit=1000', 200);
    await until('there is a checkpoint', async () => (await hub.api('GET', '/v1/ledger/checkpoint')).status === 200);
    const bearer = { headers: { Authorization: `bearer ${tokens.ledger}` } };
    await remote('ledger_checkpoint', 'operator', '/v1/ledger/checkpoint', 200, bearer);
    await remote('ledger_checkpoint', 'device', '/v1/ledger/checkpoint', 200);
    await remote('ledger_tile', 'operator', '/v1/ledger/tile/0/000.p/1', 200, bearer);
    await local('ledger_tile', '/v1/ledger/tile/entries/000.p/1', 200);
    assert.equal((await local('ledger_tile', '/v1/ledger/tile/5/000', 404)).code, 'tile-not-found');

    const note = await local('trust_bundle_show', '/v1/trust-bundle', 200);
    assert.equal((await remote('device_trust_bundle', 'device', '/v1/device/trust-bundle', 200)).body.toString(), note.toString());
    const put = async (text, type = 'text/plain') => {
      const path = join(hub.folder, 'bundle.new');
      await writeFile(path, text);
      const answer = await curlLocal(hub, 'PUT', '/v1/trust-bundle', path, type);
      assertFits('trust_bundle_replace', answer);
      return answer;
    };
    assert.deepEqual([await put(note.toString())].map(({ status, body: { code } }) => [status, code]), [[409, 'trust-bundle-not-newer']]);
    assert.deepEqual([await put('nonsense\n')].map(({ status, body: { code } }) => [status, code]), [[400, 'trust-bundle-malformed']]);
    assert.equal((await put(note.toString(), 'application/json')).status, 415);
    assert.deepEqual([await put(note.toString().replace('version 1', 'version 7'))].map(({ status, body: { code } }) => [status, code]), [[403, 'trust-bundle-refused']]);
    const made = await hub.cli('--state', hub.state, 'ca', 'bundle', '-o', join(hub.folder, 'bundle.next'));
    assert.equal(made.code, 0, made.stderr);
    assert.equal((await put(await readFile(join(hub.folder, 'bundle.next')))).status, 204);
    done.add('trust_bundle_replace');
    assert.equal((await hub.must(200, 'GET', '/v1/hub')).trust_bundle_version, 2);

    const json = { 'Content-Type': 'application/json' };
    const checkin = await remote('device_checkin', 'device', '/v1/device/checkin', 204,
                                 { headers: json, body: JSON.stringify({ agent_version: '0.1.0', uptime_seconds: 5, boot_id: '5d1c0f7e-8a61-4c52-9a1b-2f6f3e1c9d40', certificate_expires_at: LATER }) });
    assert.equal(checkin.headers['holdfast-next-checkin'], '900');
    assert.equal(checkin.headers['holdfast-trust-bundle'], '2');
    assert.equal(checkin.headers['holdfast-rotation'], due.id);
    const report = { agent_version: '0.1.0', platform: 'linux', key_storage: 'file', boot_count: 17, facts: { os: 'Debian 12' } };
    await remote('device_report', 'device', '/v1/device/report', 204, { headers: json, body: JSON.stringify(report) });
    const acts = await hub.acts();
    await remote('device_report', 'device', '/v1/device/report', 204, { headers: json, body: JSON.stringify(report) });
    assert.equal(await hub.acts(), acts, 'one that says the same makes no entry');
    assert.deepEqual((await hub.must(200, 'GET', '/v1/devices/good')).report, report);
    await remote('device_self', 'device', '/v1/device/self', 200);
    await until('the check-in is noted', async () => (await hub.must(200, 'GET', '/v1/devices/good')).checkins === 1, 8000);

    await remote('est_cacerts', 'bootstrap', '/.well-known/est/cacerts', 200);
    await remote('est_cacerts', 'device', '/.well-known/est/cacerts', 200);
    await local('est_cacerts', '/.well-known/est/cacerts', 200);
    await until('the first list', async () => (await ask('bootstrap', 'GET', '/crl/all.crl')).status === 200, 10000);
    await remote('crl', 'bootstrap', '/crl/all.crl', 200);
    await remote('est_csrattrs', 'bootstrap', '/.well-known/est/csrattrs', 200);
    for (const [id, type] of [['est_serverkeygen', 'application/pkcs10'], ['est_fullcmc', 'application/pkcs7-mime']])
      await remote(id, 'bootstrap', operation(id).path, 501, { headers: { 'Content-Type': type }, body: 'AAAA' });
    const { 'by-contract': code } = await hub.claims('by-contract');
    const csr = await csrBody(await newKey(join(hub.folder, 'by-contract.key')), '/CN=by-contract');
    const basic = (password) => ({ headers: { 'Content-Type': 'application/pkcs10', Authorization: `Basic ${Buffer.from(`by-contract:${password}`).toString('base64')}` }, body: csr });
    await remote('est_simpleenroll', 'bootstrap', '/.well-known/est/simpleenroll', 401, basic('0'.repeat(26)));
    await remote('est_simpleenroll', 'bootstrap', '/.well-known/est/simpleenroll', 200, basic(code));
    const renewal = await csrBody(await newKey(join(hub.folder, 'good2.key')), '/CN=good');
    await remote('est_simplereenroll', 'device', '/.well-known/est/simplereenroll', 200, { headers: { 'Content-Type': 'application/pkcs10' }, body: renewal });

    // of a ledger that is long enough
    const long = await Hub.start();
    try {
      await long.factory();
      await long.claims('grower');
      await growTo(long, 520);
      await until('its checkpoint', async () => (await long.must(200, 'GET', '/v1/hub')).ledger.checkpoint_size >= 512, 10000);
      for (const [id, method, path, status, body] of [
        ['ledger_archive', 'POST', '/v1/ledger/archive', 200, { before: 256, where: 'elsewhere' }],
        ['ledger_entries', 'GET', '/v1/ledger/entries?first=0', 410],
        ['ledger_tile', 'GET', '/v1/ledger/tile/entries/000', 410],
      ]) {
        const answer = await long.api(method, path, body);
        assert.equal(answer.status, status, `${path}: ${JSON.stringify(answer.body)}`);
        assertFits(id, answer);
        done.add(id);
      }
    } finally {
      await long.stop();
    }
    const question = join(hub.folder, 'good.ocsp');
    await openssl(['ocsp', '-issuer', join(hub.state, 'signer/issuing.pem'), '-cert', device.certificate, '-no_nonce', '-reqout', question]);
    const der = await readFile(question);
    const asked = await remote('ocsp_ask', 'status', '/ocsp', 200, { headers: { 'Content-Type': 'application/ocsp-request' }, body: der });
    const got = await remote('ocsp_get', 'status', `/ocsp/${der.toString('base64')}`, 200);
    assert.ok(got.body.equals(asked.body));
    await remote('ocsp_get', 'status', `/ocsp/${der.toString('base64')}`, 304, { headers: { 'If-None-Match': got.headers.etag } });
    await local('hubs_list', '/v1/hubs', 200);
    const card = join(hub.folder, 'card');
    await writeFile(card, 'nonsense\n');
    const admitted = await curlLocal(hub, 'POST', '/v1/hubs', card, 'text/plain');
    assertFits('hub_admit', admitted);
    assert.equal(admitted.body.code, 'store-not-shared');
    assert.equal((await local('hub_remove', '/v1/hubs/hub-9/remove', 404, { reason: 'none' })).code, 'hub-not-found');
    const text = `holdfast: 1\nfleet: fleet.example\ngroups: {g: {subscribe: [a]}}\nmodels: {sensor: {identity: {maker: acme}}, thermo: {identity: {maker: acme}}}\n`;
    assert.equal((await local('policy_show', '/v1/policy', 404)).code, 'policy-not-found');
    await local('policy_plan', '/v1/policy/plan', 200, { text });
    await local('policy_apply', '/v1/policies', 201, { from: 0, text, comment: 'the first' });
    assert.equal((await local('policy_apply', '/v1/policies', 409, { from: 0, text })).code, 'policy-changed');
    await local('policy_show', '/v1/policy', 200);
    await local('policy_list', '/v1/policies', 200);
    assert.equal((await local('policy_get', '/v1/policies/1', 200)).text, text);
    assert.equal((await local('policy_get', '/v1/policies/x', 404)).code, 'policy-not-found');
    assert.equal((await local('policy_approve', '/v1/policies/1/approve', 409, { from: 1 })).code, 'policy-not-proposed');
    assert.equal((await local('policy_withdraw', '/v1/policies/1/withdraw', 409, { comment: 'none' })).code, 'policy-not-proposed');
    assert.equal((await local('device_assign', '/v1/devices/s-1/group', 200, { group: 'g' })).group, 'g');
    for (const id of ['policy_approve', 'policy_withdraw', 'hub_admit', 'hub_remove', 'device_password_make', 'device_password_remove', 'device_dismiss']) done.add(id); // in tests of their own

    const elsewhere = ({ id, path }) => path.startsWith('/v1/hooks/') || id.startsWith('broker_');
    assert.deepEqual(operations.filter((one) => !elsewhere(one)).map(({ id }) => id).filter((id) => !done.has(id)), [], 'called with success');
  });

  it('has examples that fit its own schemas and are taken by the hub', async () => {
    for (const one of operations) {
      for (const [type, { schema, example }] of Object.entries(one.body?.content ?? {})) {
        if (example === undefined) continue;
        assert.deepEqual(misfits(example, schema, `${one.id} ${type}`), []);
      }
      for (const [status, { content }] of Object.entries(one.responses)) {
        for (const { schema, example } of Object.values(content ?? {})) {
          if (example !== undefined) assert.deepEqual(misfits(example, schema, `${one.id} ${status}`), []);
        }
      }
    }
    const exampleOf = (id) => operation(id).body.content['application/json'].example;
    const second = await Hub.start();
    try {
      await second.must(201, 'POST', '/v1/models', exampleOf('model_create'));
      await second.must(201, 'POST', '/v1/manifests', exampleOf('manifest_create'));
      const { devices } = await second.must(201, 'POST', '/v1/manifests/batch-2026-11/devices', exampleOf('manifest_add_devices'));
      await second.must(201, 'POST', '/v1/devices/thermo-1/claim', exampleOf('device_claim'));
      await second.must(201, 'POST', '/v1/tokens', exampleOf('token_create'));
      await second.must(200, 'PATCH', '/v1/models/thermo', exampleOf('model_change'));
      await second.must(201, 'POST', '/v1/rotations', exampleOf('rotation_create'));
      await second.must(200, 'POST', '/v1/devices/thermo-1/revoke', exampleOf('device_revoke'));
      assert.equal(devices.length, 2);
    } finally {
      await second.stop();
    }
    assert.ok(contract.openapi.startsWith('3.1'));
    assert.ok(follow(contract.components.responses.BadRequest));
  });

  it('refuses a body of another media type, and one where none belongs', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', 'application/problem+json', '']) {
      const wire = await connect(hub, 'device', { device });
      const answer = await wire.request('POST', '/v1/device/checkin', { headers: type ? { 'Content-Type': type } : {}, body: '{"agent_version":"1","uptime_seconds":1}' });
      assert.equal(answer.status, 415, type);
      assert.equal(answer.json.code, 'media-type');
      wire.destroy();
    }
    const wire = await connect(hub, 'device', { device });
    const answer = await wire.request('POST', '/v1/device/checkin', { headers: { 'Content-Type': 'Application/JSON; charset=utf-8' }, body: '{"agent_version":"1","uptime_seconds":1}' });
    assert.equal(answer.status, 204, 'case and parameters do not matter');
    wire.destroy();
  });

  it('limits how often one device writes and one address asks, by themselves', async () => {
    const small = await Hub.start({ 'device-writes-per-minute': '4', 'device-reads-per-minute': '8', 'public-per-minute': '8', 'reader-per-minute': '8' });
    try {
      await small.factory();
      const [one, two] = [await enrolledDevice(small, 'one'), await enrolledDevice(small, 'two')];
      const limited = async (request) => {
        const statuses = [];
        for (let i = 0; i < 12; i++) {
          const answer = await request();
          statuses.push(answer.status);
          if (answer.status !== 429) continue;
          const json = answer.json ?? answer.body;
          assert.equal(json.code, 'rate-limited');
          assert.ok(Number(answer.headers['retry-after']) >= 1);
          return statuses;
        }
        return assert.fail(`never limited: ${statuses}`);
      };
      let reports = 0;
      const report = (who) => as(small, who, '/v1/device/report', ['-X', 'PUT', '-H', 'Content-Type: application/json'],
                                 JSON.stringify({ agent_version: '1', platform: 'x', key_storage: 'file', facts: { n: String(reports++) } }));
      assert.ok((await limited(() => report(one))).includes(204));
      assert.equal((await report(two)).status, 204, 'another device is not held up');
      assert.equal((await as(small, one, '/v1/device/self')).status, 200, 'nor what it reads');
      await limited(() => as(small, one, '/v1/device/self'));
      assert.equal((await as(small, two, '/v1/device/self')).status, 200);
      await limited(() => curl(small, 'operator', '/v1/health'));
      assert.equal((await curl(small, 'operator', '/v1/health', ['--interface', '127.0.0.2'])).status, 200);
      assert.equal((await small.api('GET', '/v1/health')).status, 200, 'the local socket is not limited');
      const { token } = await small.must(201, 'POST', '/v1/tokens', { name: 'eager', scopes: ['metrics'], expires_at: LATER });
      await limited(() => curl(small, 'operator', '/metrics', ['-H', `Authorization: Bearer ${token}`]));
      // A refusal counts like an answer: the field for tenants, which the network is not to send, is no way round.
      const third = await enrolledDevice(small, 'three');
      const worded = await limited(() => as(small, third, '/v1/device/self', ['-H', 'Holdfast-Tenant: default']));
      assert.equal(worded[0], 403);
    } finally {
      await small.stop();
    }
  });
});

describe('lists', { timeout: 60000 }, () => {
  let hub;
  const serials = Array.from({ length: 250 }, (_, i) => `d-${String(i).padStart(3, '0')}`);
  before(async () => {
    hub = await Hub.start();
    for (const [model, maker] of [['a', 'acme'], ['b', 'bolt']]) await hub.must(201, 'POST', '/v1/models', { ...MODEL, id: model, maker });
    for (const [manifest, model, owner] of [['m1', 'a', 'x'], ['m2', 'a', 'y'], ['m3', 'b', 'x']]) await hub.must(201, 'POST', '/v1/manifests', { id: manifest, model, owner });
    for (const [i, manifest] of ['m1', 'm2', 'm3'].entries()) {
      const rows = serials.filter((_, n) => n % 3 === i).map((serial) => ({ serial, claim: { expires_at: LATER } }));
      await hub.must(201, 'POST', `/v1/manifests/${manifest}/devices`, { rows });
    }
    for (const serial of ['d-000', 'd-001', 'd-249']) await hub.must(200, 'POST', `/v1/devices/${serial}/revoke`, { reason: 'x' });
  });
  after(() => hub.stop());

  const all = async (query, limit) => {
    const found = [];
    let pages = 0;
    for (let after = ''; ;) {
      const page = await hub.must(200, 'GET', `/v1/devices?${query}limit=${limit}${after}`);
      pages++;
      assert.ok(page.devices.length <= limit);
      found.push(...page.devices.map(({ id }) => id));
      if (!page.next) return { found, pages };
      assert.equal(page.next, found.at(-1));
      after = `&after=${page.next}`;
    }
  };

  it('come in pages, in order, each device once', async () => {
    for (const limit of [1000, 250, 249, 100, 50, 7]) {
      const { found, pages } = await all('', limit);
      assert.deepEqual(found, serials, `limit ${limit}`);
      assert.equal(pages, Math.ceil(250 / limit));
    }
    const standard = await hub.must(200, 'GET', '/v1/devices');
    assert.equal(standard.devices.length, 100);
    assert.equal(standard.next, 'd-099');
    assert.deepEqual((await hub.must(200, 'GET', '/v1/devices?after=zzz')).devices, []);
    assert.equal((await hub.must(200, 'GET', '/v1/devices?after=d-0999&limit=1')).devices[0].id, 'd-100', 'after a name that nobody has');
  });

  it('are filtered: every filter that is given holds', async () => {
    const where = (test) => serials.filter((_, n) => test(n));
    const revoked = ['d-000', 'd-001', 'd-249'];
    const cases = {
      'model=a&': where((n) => n % 3 !== 2), 'model=b&': where((n) => n % 3 === 2), 'owner=x&': where((n) => n % 3 !== 1), 'manifest=m2&': where((n) => n % 3 === 1),
      'state=revoked&': revoked, 'state=expected&': serials.filter((serial) => !revoked.includes(serial)), 'model=a&owner=x&': where((n) => n % 3 === 0),
      'model=b&owner=y&': [], 'state=revoked&manifest=m1&': ['d-000', 'd-249'], 'state=revoked&model=a&owner=y&manifest=m2&': ['d-001'], 'model=nothing&': [], 'state=trusted&': [],
    };
    for (const [query, expected] of Object.entries(cases)) {
      for (const limit of [1000, 60, 2]) {
        if (limit === 2 && expected.length > 10) continue;
        assert.deepEqual((await all(query, limit)).found, expected, `${query}${limit}`);
      }
    }
  });

  it('show models, manifests and tokens in pages, too', async () => {
    for (const name of ['t-1', 't-2', 't-3']) await hub.must(201, 'POST', '/v1/tokens', { name, scopes: ['metrics'], expires_at: LATER });
    for (const [path, field, key, expected] of [['/v1/models', 'models', 'id', ['a', 'b']], ['/v1/manifests', 'manifests', 'id', ['m1', 'm2', 'm3']], ['/v1/tokens', 'tokens', 'name', ['t-1', 't-2', 't-3']]]) {
      const found = [];
      for (let after = ''; ;) {
        const page = await hub.must(200, 'GET', `${path}?limit=1${after}`);
        assert.equal(page[field].length, 1);
        found.push(page[field][0][key]);
        if (!page.next) break;
        after = `&after=${page.next}`;
      }
      assert.deepEqual(found, expected);
    }
  });

  it('show the certificates of a device, the newest first', async () => {
    await hub.must(201, 'POST', '/v1/manifests/m1/devices', { rows: [{ serial: 'renewing', claim: { expires_at: LATER } }] });
    const { claim_code } = await hub.must(201, 'POST', '/v1/devices/renewing/claim', { expires_at: LATER });
    let device = { key: await newKey(join(hub.folder, 'r0.key')) };
    const first = await enrol(hub, 'renewing', claim_code, await csrBody(device.key, '/CN=renewing'));
    device.certificate = await keepCertificate(first, join(hub.folder, 'r0.crt'));
    const serials = [(await as(hub, device, '/v1/device/self')).json.certificate.serial];
    for (let i = 1; i < 6; i++) {
      const key = await newKey(join(hub.folder, `r${i}.key`));
      const answer = await renew(hub, device, await csrBody(key, '/CN=renewing'));
      assert.equal(answer.status, 200, JSON.stringify(answer.json));
      device = { key, certificate: await keepCertificate(answer, join(hub.folder, `r${i}.crt`)) };
      serials.unshift((await as(hub, device, '/v1/device/self')).json.certificate.serial);
    }
    const { certificates } = await hub.must(200, 'GET', '/v1/devices/renewing/certificates');
    assert.deepEqual(certificates.map(({ serial }) => serial), serials);
    assert.deepEqual((await hub.must(200, 'GET', '/v1/devices/renewing/certificates?limit=2')).certificates.map(({ serial }) => serial), serials.slice(0, 2));
  });
});
