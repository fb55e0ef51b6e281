// Revoked means refused: on the very next request, on every connection, in every session.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { Hub, as, csrBody, curl, enrol, enrolledDevice, keepCertificate, newKey, renew, sleep, until } from './lib/hub.mjs';
import { connect } from './lib/wire.mjs';

const SELF = '/v1/device/self';
const CHECKIN = { headers: { 'Content-Type': 'application/json' }, body: '{"agent_version":"1","uptime_seconds":1}' };

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

describe('a device that is cut off', () => {
  let hub;
  before(async () => {
    hub = await Hub.start({ 'device-writes-per-minute': '100000', 'device-reads-per-minute': '100000' });
    await hub.factory();
  });
  after(() => hub.stop());

  const move = (verb, serial, reason = 'a test') => hub.api('POST', `/v1/devices/${serial}/${verb}`, { reason });
  const mustMove = async (verb, serial) => {
    const answer = await move(verb, serial);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body;
  };
  const refused = (answer, status, code) => {
    assert.equal(answer.json?.code, code, JSON.stringify(answer.json ?? answer));
    assert.equal(answer.status, status);
  };
  // A kept connection of a device that has been used, so the hub knows whose it is.
  const used = async (device, options) => {
    const wire = await connect(hub, 'device', { device, ...options });
    assert.equal((await wire.request('GET', SELF)).status, 200);
    return wire;
  };

  it('is refused on the next request of a connection that was open before', async () => {
    const device = await enrolledDevice(hub, 'lost');
    const wire = await connect(hub, 'device', { device });
    await mustMove('revoke', 'lost');
    const answer = await wire.request('GET', SELF);
    refused(answer, 403, 'device-revoked');
    assert.ok(await wire.endsWithin(2000), 'and that was its last');
    refused(await as(hub, device, SELF), 403, 'device-revoked');
    refused(await renew(hub, device, device.csr), 403, 'device-revoked');
    refused(await as(hub, device, '/v1/ledger/checkpoint'), 403, 'device-revoked');
    refused(await enrol(hub, 'lost', device.code, device.csr), 403, 'device-revoked');
    const fresh = await newKey(join(hub.folder, 'lost2.key'));
    const again = await enrol(hub, 'lost', device.code, await csrBody(fresh, '/CN=lost'));
    assert.ok([401, 403].includes(again.status), 'nor with a new key');
  });

  it('loses its live connections on every loop before the cut is answered', async (t) => {
    const device = await enrolledDevice(hub, 'forty');
    const other = await enrolledDevice(hub, 'bystander');
    const wires = await Promise.all(Array.from({ length: 40 }, () => used(device)));
    const others = await Promise.all(Array.from({ length: 8 }, () => used(other)));
    const start = performance.now();
    await mustMove('revoke', 'forty');
    const answered = performance.now() - start;
    await Promise.all(wires.map(async (wire) => assert.ok(await wire.endsWithin(3000), 'closed')));
    const times = wires.map(({ closedAt }) => closedAt - start);
    const line = hub.log.split('\n').find((text) => text.includes('device.moved') && text.includes('device=forty'));
    assert.match(line, /connections_closed=40\b/, line);
    const [, closedUs] = /closed_us=(\d+)/.exec(line);
    t.diagnostic(`40 connections: answered after ${answered.toFixed(1)} ms; seen closed after ${median(times).toFixed(1)} ms (median), `
      + `${Math.max(...times).toFixed(1)} ms (last); the hub's own figure ${(closedUs / 1000).toFixed(1)} ms`);
    assert.ok(Math.max(...times) < 2000);
    for (const wire of others) {
      assert.ok(!wire.isClosed);
      assert.equal((await wire.request('GET', SELF)).json.state, 'trusted', 'the others go on, on the same connections');
      wire.destroy();
    }
  });

  it('gets no answer but refusals to what it asks after the cut, however fast it asks', async () => {
    const device = await enrolledDevice(hub, 'hasty');
    let cutAt = Infinity;
    let before = 0;
    const ask = async () => {
      for (;;) {
        let wire;
        try {
          wire = await connect(hub, 'device', { device });
          for (;;) {
            const sent = performance.now();
            const answer = await wire.request('GET', SELF);
            if (answer.status === 200) {
              assert.ok(sent < cutAt, `answered ${sent - cutAt} ms after the cut`);
              before++;
            } else {
              refused(answer, 403, 'device-revoked');
              return;
            }
          }
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error; // else: cut in the middle, asks again
        } finally {
          wire?.destroy();
        }
      }
    };
    const asking = Promise.all(Array.from({ length: 8 }, ask));
    await sleep(300);
    await mustMove('revoke', 'hasty');
    cutAt = performance.now();
    await asking;
    assert.ok(before > 20, `${before} requests before it`);
  });

  for (const version of ['TLSv1.2', 'TLSv1.3']) {
    it(`is refused in a resumed ${version} session`, async () => {
      const serial = `resuming-${version}`;
      const device = await enrolledDevice(hub, serial);
      const options = { minVersion: version, maxVersion: version };
      const first = await used(device, options);
      const session = () => first.sessions.at(-1) ?? (version === 'TLSv1.2' ? first.socket.getSession() : undefined);
      await until('the hub gives a session', session, 3000);
      const resumed = await connect(hub, 'device', { device, session: session(), ...options });
      assert.ok(resumed.socket.isSessionReused(), 'sessions are resumed');
      assert.equal((await resumed.request('GET', SELF)).status, 200);
      const next = resumed.sessions.at(-1) ?? session();
      await mustMove('revoke', serial);
      assert.ok(await resumed.endsWithin(2000), 'the resumed connection is closed, too');
      const wire = await connect(hub, 'device', { device, session: next, ...options });
      assert.ok(wire.socket.isSessionReused(), 'the session is still there');
      refused(await wire.request('GET', SELF), 403, 'device-revoked');
    });
  }

  it('is refused in a session that openssl kept in a file', async () => {
    const device = await enrolledDevice(hub, 'kept');
    const file = join(hub.folder, 'kept.session');
    const ask = async (words) => {
      const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${hub.ports.device}`, '-servername', 'localhost', '-CAfile', hub.roots,
                                      '-cert', device.certificate, '-key', device.key, '-tls1_2', '-ign_eof', ...words]);
      let text = '';
      child.stdout.on('data', (data) => (text += data));
      child.stderr.resume();
      child.stdin.end(`GET ${SELF} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      await new Promise((done) => child.once('close', done));
      return text;
    };
    const first = await ask(['-sess_out', file]);
    assert.match(first, /HTTP\/1.1 200/);
    assert.ok((await readFile(file)).length > 0);
    const resumed = await ask(['-sess_in', file]);
    assert.match(resumed, /^Reused, /m);
    assert.match(resumed, /HTTP\/1.1 200/);
    await mustMove('revoke', 'kept');
    const after = await ask(['-sess_in', file]);
    assert.match(after, /^Reused, /m);
    assert.match(after, /HTTP\/1.1 403[^]*device-revoked/);
  });

  it('has no certificate left that works, also where it renewed at that moment', async () => {
    for (let round = 0; round < 4; round++) {
      const serial = `racing-${round}`;
      const device = await enrolledDevice(hub, serial);
      assert.equal((await as(hub, device, SELF)).status, 200);
      const keys = await Promise.all([0, 1, 2].map((i) => newKey(join(hub.folder, `${serial}-${i}.key`))));
      const bodies = await Promise.all(keys.map((key) => csrBody(key, `/CN=${serial}`)));
      const renewals = bodies.map((body) => renew(hub, device, body));
      if (round === 3) await Promise.all(renewals); // all issued, none used
      else await sleep(15 * round);
      const [answers] = await Promise.all([Promise.all(renewals), mustMove('revoke', serial)]);
      const { certificates } = await hub.must(200, 'GET', `/v1/devices/${serial}/certificates`);
      assert.ok(certificates.length >= 1);
      for (const { status } of certificates) assert.ok(['revoked', 'retired'].includes(status), `round ${round}: one is ${status}`);
      for (const [i, answer] of answers.entries()) {
        if (answer.status !== 200) continue;
        const certificate = await keepCertificate(answer, join(hub.folder, `${serial}-${i}.crt`));
        const refusal = await as(hub, { certificate, key: keys[i] }, SELF);
        assert.equal(refusal.status, 403, `round ${round}: ${JSON.stringify(refusal.json)}`);
      }
    }
  });

  it('stands in the ledger with who did it and why', async () => {
    await enrolledDevice(hub, 'noted');
    const body = (await move('revoke', 'noted', 'stolen from van 7, "ticket" 4711')).body;
    assert.equal(body.state, 'revoked');
    assert.equal(body.reason, 'stolen from van 7, "ticket" 4711');
    const { entries } = await hub.must(200, 'GET', '/v1/ledger/entries?limit=2&order=desc');
    const [leg, { entry, reason }] = entries;
    assert.deepEqual([entry.act, entry.subject], ['device.revoke', 'device/noted']);
    assert.deepEqual([leg.entry.act, leg.entry.subject, leg.entry.actor], ['device.cut-leg', 'device/noted', 'hub']);
    assert.deepEqual(entry.data, { from: 'trusted', to: 'revoked', reason: entry.data.reason });
    assert.match(entry.data.reason, /^~\d+:[0-9a-f]+$/, 'sealed for its owner');
    assert.equal(reason, 'stolen from van 7, "ticket" 4711');
    assert.equal(entry.actor, `local:${process.getuid()}`);
    const { certificates } = await hub.must(200, 'GET', '/v1/devices/noted/certificates');
    assert.equal(certificates[0].status, 'revoked');
    assert.ok(certificates[0].ended_at);
  });

  it('never enrols where it was revoked before it came', async () => {
    const { early: code } = await hub.claims('early');
    await mustMove('revoke', 'early');
    const key = await newKey(join(hub.folder, 'early.key'));
    const answer = await enrol(hub, 'early', code, await csrBody(key, '/CN=early'));
    assert.ok([401, 403].includes(answer.status), JSON.stringify(answer.json));
    assert.equal((await hub.api('GET', '/v1/devices/early')).body.state, 'revoked');
  });

  it('may renew in quarantine and nothing else, and comes back', async () => {
    const device = await enrolledDevice(hub, 'suspect');
    const wire = await used(device);
    assert.equal((await wire.request('POST', '/v1/device/checkin', CHECKIN)).status, 204);
    assert.equal((await mustMove('quarantine', 'suspect')).state, 'quarantined');
    assert.ok(await wire.endsWithin(2000), 'its connection is closed');
    const inside = await connect(hub, 'device', { device });
    assert.equal((await inside.request('GET', SELF)).json.state, 'quarantined');
    refused(await inside.request('POST', '/v1/device/checkin', CHECKIN), 403, 'device-not-trusted');
    refused(await as(hub, device, '/v1/ledger/checkpoint'), 403, 'device-not-trusted');
    const report = JSON.stringify({ agent_version: '1', platform: 'x', key_storage: 'file', facts: {} });
    refused(await as(hub, device, '/v1/device/report', ['-X', 'PUT', '-H', 'Content-Type: application/json'], report), 403, 'device-not-trusted');
    assert.ok([200, 404].includes((await as(hub, device, '/v1/device/trust-bundle')).status), 'its trust bundle it may have');
    const key = await newKey(join(hub.folder, 'suspect2.key'));
    const answer = await renew(hub, device, await csrBody(key, '/CN=suspect'));
    assert.equal(answer.status, 200, JSON.stringify(answer.json));
    const fresh = { key, certificate: await keepCertificate(answer, join(hub.folder, 'suspect2.crt')) };
    refused(await as(hub, fresh, '/v1/ledger/checkpoint'), 403, 'device-not-trusted');
    assert.equal((await mustMove('release', 'suspect')).state, 'trusted');
    assert.equal((await as(hub, fresh, '/v1/ledger/checkpoint')).status, 200);
    assert.equal((await connect(hub, 'device', { device: fresh }).then((w) => w.request('POST', '/v1/device/checkin', CHECKIN))).status, 204);
  });

  it('comes out of quarantine as what it was: one that was never trusted is only enrolled', async () => {
    await hub.must(201, 'POST', '/v1/models', { id: 'judged', maker: 'acme', proof: 'approval', key_kinds: ['P-256'],
                                                lifetime_seconds: 86400, enrolled_lifetime_seconds: 600 });
    await hub.must(201, 'POST', '/v1/manifests', { id: 'judged', model: 'judged', owner: 'acme' });
    const rows = [{ serial: 'unproven', claim: { expires_at: '2099-01-01T00:00:00Z' } }];
    const { devices } = await hub.must(201, 'POST', '/v1/manifests/judged/devices', { rows });
    const key = await newKey(join(hub.folder, 'unproven.key'));
    assert.equal((await enrol(hub, 'unproven', devices[0].claim_code, await csrBody(key, '/CN=unproven'))).status, 200);
    await mustMove('quarantine', 'unproven');
    assert.equal((await move('approve', 'unproven')).body.code, 'move-not-possible');
    assert.equal((await mustMove('release', 'unproven')).state, 'enrolled');
    assert.equal((await mustMove('approve', 'unproven')).state, 'trusted');
  });

  it('is refused for good where it was retired', async () => {
    const device = await enrolledDevice(hub, 'old');
    const wire = await used(device);
    assert.equal((await mustMove('retire', 'old')).state, 'retired');
    assert.ok(await wire.endsWithin(2000));
    refused(await as(hub, device, SELF), 403, 'device-retired');
    refused(await renew(hub, device, device.csr), 403, 'device-retired');
    const answer = await enrol(hub, 'old', device.code, device.csr);
    assert.ok([401, 403].includes(answer.status));
  });

  it('cannot be moved as its life does not go, and then nothing changes', async () => {
    const states = { expected: 'm-expected', trusted: 'm-trusted', quarantined: 'm-quarantined', revoked: 'm-revoked', retired: 'm-retired' };
    await hub.claims(states.expected);
    for (const state of ['trusted', 'quarantined', 'revoked', 'retired']) await enrolledDevice(hub, states[state]);
    await mustMove('quarantine', states.quarantined);
    await mustMove('revoke', states.revoked);
    await mustMove('retire', states.retired);
    const impossible = {
      approve: ['expected', 'trusted', 'quarantined', 'revoked', 'retired'],
      quarantine: ['expected', 'quarantined', 'revoked', 'retired'],
      release: ['expected', 'trusted', 'revoked', 'retired'],
      revoke: ['revoked', 'retired'],
      retire: ['revoked', 'retired'],
    };
    const acts = await hub.acts();
    for (const [verb, from] of Object.entries(impossible)) {
      for (const state of from) {
        const { status, body } = await move(verb, states[state]);
        assert.equal(status, 409, `${verb} ${state}`);
        assert.equal(body.code, 'move-not-possible', `${verb} ${state}`);
        assert.ok(body.field && body.detail, 'says what and why');
        assert.equal((await hub.api('GET', `/v1/devices/${states[state]}`)).body.state, state);
      }
    }
    for (const [body, field] of [[{}, 'reason'], [{ reason: '' }, 'reason'], [{ reason: 'x'.repeat(201) }, 'reason'], [{ reason: 'a\nb' }, 'reason'], [{ reason: 1 }, 'reason'], [{ reason: 'x', more: 1 }, 'more']]) {
      const answer = await hub.api('POST', `/v1/devices/${states.trusted}/revoke`, body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal(answer.body.field, field, JSON.stringify(body));
    }
    const unknown = await move('revoke', 'never-seen');
    assert.equal(unknown.status, 404);
    assert.equal(unknown.body.code, 'device-not-found');
    assert.equal(await hub.acts(), acts, 'no entry for what was refused');
    assert.equal((await hub.api('GET', `/v1/devices/${states.trusted}`)).body.state, 'trusted');
  });

  it('stays cut off over a crash of the hub', async () => {
    const device = await enrolledDevice(hub, 'crashing');
    await mustMove('revoke', 'crashing');
    await hub.restart('SIGKILL');
    refused(await as(hub, device, SELF), 403, 'device-revoked');
    assert.equal((await curl(hub, 'bootstrap', '/.well-known/est/cacerts')).status, 200);
  });
});
