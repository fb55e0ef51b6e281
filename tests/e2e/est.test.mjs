// EST with curl and openssl: what a device without our agent does, and what an attacker would try.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { join } from 'node:path';
import { Hub, as, csrBody, csrDer, curl, enrol, enrolledDevice, keepCertificate, newKey, openssl, renew, until } from './lib/hub.mjs';

describe('EST', () => {
  let hub;
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
  });
  after(() => hub.stop());

  const refused = (answer, status, code) => {
    assert.equal(answer.json?.code, code, JSON.stringify(answer.json ?? answer));
    assert.equal(answer.status, status);
    assert.match(answer.headers['content-type'], /application\/problem\+json/);
  };

  it('hands out the CA certificates without credentials', async () => {
    const answer = await curl(hub, 'bootstrap', '/.well-known/est/cacerts');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'application/pkcs7-mime; smime-type=certs-only');
    const pem = await openssl(['pkcs7', '-inform', 'DER', '-print_certs'], Buffer.from(answer.body.toString(), 'base64'));
    assert.match(pem.toString(), /issuing/);
    assert.ok(answer.body.toString().split('\n').every((line) => line.length <= 76), 'wrapped lines');
  });

  it('names the attributes it wants', async () => {
    const answer = await curl(hub, 'bootstrap', '/.well-known/est/csrattrs');
    assert.equal(answer.status, 200);
    const text = await openssl(['asn1parse', '-inform', 'DER'], Buffer.from(answer.body.toString(), 'base64'));
    assert.match(text.toString(), /id-ecPublicKey/);
    assert.match(text.toString(), /prime256v1/);
  });

  it('says that it makes no keys and speaks no full CMC', async () => {
    for (const [path, type] of [['serverkeygen', 'pkcs10'], ['fullcmc', 'pkcs7-mime']]) {
      const answer = await curl(hub, 'bootstrap', `/.well-known/est/${path}`, ['-X', 'POST', '-H', `Content-Type: application/${type}`], 'x');
      assert.equal(answer.status, 501, path);
    }
  });

  for (const kind of ['P-256', 'P-384', 'Ed25519', 'RSA-2048']) {
    it(`enrols a device with a ${kind} key`, async () => {
      const device = await enrolledDevice(hub, `kind-${kind}`, { kind });
      await openssl(['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', hub.roots, '-untrusted',
                     join(hub.state, 'signer/issuing.pem'), device.certificate]);
      const text = (await openssl(['x509', '-in', device.certificate, '-noout', '-text'])).toString();
      assert.match(text, new RegExp(`URI:spiffe://fleet.example/default/device/kind-${kind}`));
      assert.match(text, /TLS Web Client Authentication/);
      assert.match(text, /CA:FALSE/);
      const answer = await as(hub, device, '/v1/device/self');
      assert.equal(answer.json.state, 'trusted');
    });
  }

  it('takes wrapped and unwrapped base64, and any Content-Transfer-Encoding', async () => {
    const { wrapped: code } = await hub.claims('wrapped');
    const key = await newKey(join(hub.folder, 'wrapped.key'));
    const der = await csrDer(key, '/CN=wrapped');
    const first = await enrol(hub, 'wrapped', code, der.toString('base64'), ['-H', 'Content-Transfer-Encoding: binary']);
    assert.equal(first.status, 200);
    const again = await enrol(hub, 'wrapped', code, der.toString('base64').replace(/.{20}/g, '$&\r\n'));
    assert.deepEqual(again.body, first.body);
  });

  it('gives the same bytes to the same request as long as the certificate is unused', async () => {
    const { retry: code } = await hub.claims('retry');
    const key = await newKey(join(hub.folder, 'retry.key'));
    const body = await csrBody(key, '/CN=retry');
    const answers = await Promise.all([1, 2, 3, 4].map(() => enrol(hub, 'retry', code, body)));
    for (const answer of answers) {
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.body, answers[0].body);
    }
    const acts = (await hub.ledger()).filter(({ act, subject }) => act === 'device.enrol' && subject === 'device/retry');
    assert.equal(acts.length, 1, 'one entry');
    const certificate = await keepCertificate(answers[0], join(hub.folder, 'retry.crt'));
    assert.equal((await as(hub, { certificate, key }, '/v1/device/self')).status, 200);
    refused(await enrol(hub, 'retry', code, body), 403, 'claim-used');
  });

  it('refuses a used claim code with another key, and leaves the good device alone', async () => {
    const device = await enrolledDevice(hub, 'photographed');
    const stolen = await newKey(join(hub.folder, 'thief.key'));
    refused(await enrol(hub, 'photographed', device.code, await csrBody(stolen, '/CN=photographed')), 403, 'claim-used');
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
  });

  it('gives one answer for every wrong credential', async () => {
    const { victim: code } = await hub.claims('victim');
    const key = await newKey(join(hub.folder, 'wrong.key'));
    const body = await csrBody(key, '/CN=victim');
    const wrong = code.replace(/^./, (c) => (c === '0' ? '1' : '0'));
    const answers = [
      await enrol(hub, 'victim', wrong, body),
      await enrol(hub, 'nobody', code, await csrBody(key, '/CN=nobody')),
      await enrol(hub, 'victim', 'not-a-code', body),
      await enrol(hub, undefined, undefined, body), // by a key that no manifest names
    ];
    for (const answer of answers) {
      refused(answer, 401, 'enrolment-refused');
      assert.deepEqual(answer.json, answers[0].json);
      assert.match(answer.headers['www-authenticate'], /^Basic/);
    }
    assert.equal((await enrol(hub, 'victim', code, body)).status, 200, 'the right code still works');
  });

  it('enrols by a key that the manifest names', async () => {
    const key = await newKey(join(hub.folder, 'pinned.key'));
    const spki = await openssl(['pkey', '-in', key, '-pubout', '-outform', 'DER']);
    const hash = (await openssl(['dgst', '-sha256', '-r'], spki)).toString().slice(0, 64);
    await hub.must(201, 'POST', '/v1/manifests/batch/devices', { rows: [{ serial: 'pinned', key_sha256: hash }] });
    const answer = await enrol(hub, undefined, undefined, await csrBody(key, '/CN=pinned'));
    assert.equal(answer.status, 200);
    const other = await newKey(join(hub.folder, 'unpinned.key'));
    refused(await enrol(hub, undefined, undefined, await csrBody(other, '/CN=pinned')), 401, 'enrolment-refused');
  });

  it('does not let a copied request of a pinned key serve twice', async () => {
    const key = await newKey(join(hub.folder, 'replayed.key'));
    const spki = await openssl(['pkey', '-in', key, '-pubout', '-outform', 'DER']);
    const hash = (await openssl(['dgst', '-sha256', '-r'], spki)).toString().slice(0, 64);
    await hub.must(201, 'POST', '/v1/manifests/batch/devices', { rows: [{ serial: 'replayed', key_sha256: hash }] });
    const body = await csrBody(key, '/CN=replayed');
    const first = await enrol(hub, undefined, undefined, body);
    assert.equal(first.status, 200);
    assert.deepEqual((await enrol(hub, undefined, undefined, body)).body, first.body, 'a lost answer is repeated');
    const certificate = await keepCertificate(first, join(hub.folder, 'replayed.crt'));
    assert.equal((await as(hub, { certificate, key }, '/v1/device/self')).status, 200);
    await until('it is confirmed', async () => (await enrol(hub, undefined, undefined, body)).json?.code === 'key-used', 2000);
    const own = join(hub.folder, 'replayed-own.crt');
    await openssl(['req', '-x509', '-key', key, '-subj', '/CN=replayed', '-days', '9', '-out', own]);
    const shown = await enrol(hub, undefined, undefined, body, ['--cert', own, '--key', key]);
    assert.equal(shown.status, 200, 'who shows the key in the handshake has it');
  });

  it('tells nothing of a serial number to one who has no credential for it', async () => {
    const device = await enrolledDevice(hub, 'known-key');
    await hub.claims('known-serial');
    const body = await csrBody(device.key, '/CN=x');
    const known = await enrol(hub, 'known-serial', '0'.repeat(26), body);
    const unknown = await enrol(hub, 'unknown-serial', '0'.repeat(26), body);
    refused(known, 401, 'enrolment-refused');
    assert.deepEqual(known.json, unknown.json);
  });

  it('limits how often a device may renew, so that none can grow the ledger at will', async () => {
    const small = await Hub.start({ 'device-writes-per-minute': '8' });
    try {
      await small.factory();
      const device = await enrolledDevice(small, 'greedy');
      const codes = [];
      for (let i = 0; i < 6; i++) {
        const key = await newKey(join(small.folder, `greedy-${i}.key`));
        codes.push((await renew(small, device, await csrBody(key, '/CN=greedy'))).status);
      }
      assert.equal(codes[0], 200);
      assert.equal(codes.at(-1), 429, codes.join(' '));
    } finally {
      await small.stop();
    }
  });

  it('enrols by the manufacturer certificate that the manifest pins, and by no other of that maker', async () => {
    const issue = async (name) => {
      const key = await newKey(join(hub.folder, `${name}.key`));
      const certificate = join(hub.folder, `${name}.crt`);
      await openssl(['req', '-x509', '-key', key, '-subj', `/O=Maker/CN=${name}`, '-days', '9000', '-out', certificate]);
      return { key, certificate, pem: (await openssl(['x509', '-in', certificate])).toString() };
    };
    const good = await issue('idevid');
    const other = await issue('other');
    await hub.must(201, 'POST', '/v1/manifests/batch/devices', { rows: [{ serial: 'idevid-1', idevid_pem: good.pem }] });
    const key = await newKey(join(hub.folder, 'ldevid.key'));
    const body = await csrBody(key, '/CN=idevid-1');
    const by = (who) => enrol(hub, undefined, undefined, body, ['--cert', who.certificate, '--key', who.key]);
    refused(await by(other), 401, 'enrolment-refused');
    const answer = await by(good);
    assert.equal(answer.status, 200, JSON.stringify(answer.json));
    const certificate = await keepCertificate(answer, join(hub.folder, 'ldevid.crt'));
    assert.equal((await as(hub, { certificate, key }, '/v1/device/self')).json.id, 'idevid-1');
  });

  it('lets one key belong to one device for ever', async () => {
    const device = await enrolledDevice(hub, 'first-owner');
    const { 'second-owner': code } = await hub.claims('second-owner');
    refused(await enrol(hub, 'second-owner', code, await csrBody(device.key, '/CN=second-owner')), 409, 'key-in-use');
  });

  it('renews: the new certificate is confirmed by its first use, the old one retired', async () => {
    const device = await enrolledDevice(hub, 'renewing');
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
    const key = await newKey(join(hub.folder, 'renewing2.key'));
    const body = await csrBody(key, '/CN=renewing');
    const answer = await renew(hub, device, body);
    assert.equal(answer.status, 200);
    assert.deepEqual((await renew(hub, device, body)).body, answer.body, 'a lost answer is repeated');
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200, 'the old one works until the new one is used');
    const fresh = { key, certificate: await keepCertificate(answer, join(hub.folder, 'renewing2.crt')) };
    assert.equal((await as(hub, fresh, '/v1/device/self')).status, 200);
    await until('the old one is retired', async () => (await as(hub, device, '/v1/device/self')).json?.code === 'certificate-retired', 2000);
    assert.equal((await as(hub, fresh, '/v1/device/self')).status, 200);
  });

  it('refuses to renew under another name', async () => {
    const device = await enrolledDevice(hub, 'honest');
    refused(await renew(hub, device, await csrBody(device.key, '/CN=somebody-else')), 400, 'csr-name-mismatch');
  });

  it('refuses weak and unknown keys', async () => {
    const { weak: code } = await hub.claims('weak');
    for (const kind of ['RSA-1024', 'P-521']) {
      const key = await newKey(join(hub.folder, `weak-${kind}.key`), kind);
      const answer = await enrol(hub, 'weak', code, await csrBody(key, '/CN=weak'));
      assert.ok([400, 422].includes(answer.status), kind);
      assert.match(answer.json.code, /^csr-/);
    }
  });

  it('refuses what is not one well-formed request', async () => {
    const { bad: code } = await hub.claims('bad');
    const key = await newKey(join(hub.folder, 'bad.key'));
    const der = await csrDer(key, '/CN=bad');
    const flipped = Buffer.from(der);
    flipped[flipped.length - 5] ^= 1;
    const cases = {
      'not base64': '%%%%',
      empty: '',
      'trailing bytes': Buffer.concat([der, Buffer.from([0])]).toString('base64'),
      truncated: der.subarray(0, der.length - 1).toString('base64'),
      'a signature that does not verify': flipped.toString('base64'),
      'something else': Buffer.from('30030101ff', 'hex').toString('base64'),
    };
    for (const [what, body] of Object.entries(cases)) {
      const answer = await enrol(hub, 'bad', code, body);
      assert.equal(answer.status, 400, what);
      assert.match(answer.json.code, /^csr-/, what);
    }
    const text = await enrol(hub, 'bad', code, der.toString('base64'), ['-H', 'Content-Type: text/plain']);
    assert.ok([200, 415].includes(text.status));
    const large = await enrol(hub, 'bad', code, 'A'.repeat(20000));
    assert.equal(large.status, 413);
    const { body } = await hub.api('GET', '/v1/devices/bad');
    assert.ok(['expected', 'trusted'].includes(body.state));
  });

  it('limits wrong credentials by address, and only those', async () => {
    const small = await Hub.start({ 'enrolment-per-minute': '3' });
    try {
      await small.factory();
      const codes = await small.claims('a', 'b');
      const key = await newKey(join(small.folder, 'a.key'));
      const body = await csrBody(key, '/CN=a');
      for (let i = 0; i < 3; i++) assert.equal((await enrol(small, 'a', '0'.repeat(26), body)).status, 401);
      const limited = await enrol(small, 'a', codes.a, body);
      refused(limited, 429, 'enrolment-limited');
      assert.ok(Number(limited.headers['retry-after']) >= 1);
      const elsewhere = await enrol(small, 'a', codes.a, body, ['--interface', '127.0.0.2']);
      assert.equal(elsewhere.status, 200, 'another address is not held up');
    } finally {
      await small.stop();
    }
  });

  it('gives a device that awaits approval a short certificate, and the full one once approved', async () => {
    const waiting = await Hub.start();
    try {
      await waiting.factory({ proof: 'approval' });
      const device = await enrolledDevice(waiting, 'waiting');
      const self = await as(waiting, device, '/v1/device/self');
      assert.equal(self.json.state, 'enrolled');
      const life = Date.parse(self.json.certificate.not_after) - Date.parse(self.json.certificate.not_before);
      assert.ok(life <= 1000 * 1000, `a short life: ${life} ms`);
      const json = ['-H', 'Content-Type: application/json', '-X', 'POST'];
      const checkin = () => as(waiting, device, '/v1/device/checkin', json, '{"agent_version":"1","uptime_seconds":1}');
      refused(await checkin(), 403, 'device-not-trusted');
      await waiting.must(200, 'POST', '/v1/devices/waiting/approve', { reason: 'seen it' });
      assert.equal((await checkin()).status, 204);
      const key = await newKey(join(waiting.folder, 'w2.key'));
      const answer = await renew(waiting, device, await csrBody(key, '/CN=waiting'));
      const pem = await keepCertificate(answer, join(waiting.folder, 'w2.crt'));
      await openssl(['x509', '-in', pem, '-noout', '-checkend', '80000']);
    } finally {
      await waiting.stop();
    }
  });

  it('refuses a claim code past its end', async () => {
    const soon = new Date(Date.now() + 2500).toISOString().slice(0, 19) + 'Z';
    const { devices } = await hub.must(201, 'POST', '/v1/manifests/batch/devices', { rows: [{ serial: 'late', claim: { expires_at: soon } }] });
    await new Promise((done) => setTimeout(done, 3500));
    const key = await newKey(join(hub.folder, 'late.key'));
    refused(await enrol(hub, 'late', devices[0].claim_code, await csrBody(key, '/CN=late')), 403, 'claim-expired');
    const { claim_code } = await hub.must(201, 'POST', '/v1/devices/late/claim', { expires_at: '2099-01-01T00:00:00Z' });
    refused(await enrol(hub, 'late', devices[0].claim_code, await csrBody(key, '/CN=late')), 401, 'enrolment-refused');
    assert.equal((await enrol(hub, 'late', claim_code, await csrBody(key, '/CN=late'))).status, 200);
  });

  it('does not serve enrolment where it has no business', async () => {
    const device = await enrolledDevice(hub, 'curious');
    assert.equal((await as(hub, device, '/v1/devices')).status, 404);
    assert.equal((await as(hub, device, '/.well-known/est/simpleenroll', ['-X', 'POST'], 'x')).status, 404);
    assert.equal((await curl(hub, 'bootstrap', '/v1/device/self')).status, 404);
    assert.equal((await curl(hub, 'operator', '/.well-known/est/cacerts')).status, 404);
    assert.ok((await curl(hub, 'device', '/v1/device/self')).curl, 'no certificate, no connection');
  });
});
