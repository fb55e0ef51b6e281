// Asleep past expiry: a device comes back with a certificate that has run out, by itself or by a
// person's word, and nobody else does. The hub's clock is moved (clockshift.c), no time is slept.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { join } from 'node:path';
import { Agent } from './lib/agent.mjs';
import { Clock, DAY } from './lib/clock.mjs';
import { Hub, as, csrBody, curl, enrol, enrolledDevice, keepCertificate, newKey, openssl, until } from './lib/hub.mjs';

const HOUR = 3600;

describe('asleep past expiry, with curl', { timeout: 120000 }, () => {
  let hub, clock;
  let now = 0; // how far the clock has been moved; it goes forward only

  before(async () => {
    hub = await Hub.start({}, {
      prepare: async (made) => {
        clock = await Clock.make(join(made.folder, 'clock'));
        made.options.env = made.options.cliEnv = clock.env;
      },
    });
    await hub.factory({ lifetime: HOUR });
    await must('model', 'change', 'thermo', '--grace', '30d');
  });
  after(() => hub?.stop());

  const must = async (...words) => {
    const { code, stdout, stderr } = await hub.cli(...words);
    assert.equal(code, 0, `${words.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  const sleep = (seconds) => clock.set(now += seconds);
  const show = async (id) => hub.must(200, 'GET', `/v1/devices/${id}`);
  const refused = (answer, status, code) => {
    assert.equal(answer.json?.code, code, JSON.stringify(answer.json ?? answer));
    assert.equal(answer.status, status);
  };
  // Enrolled and used; -k throughout, since curl goes by another clock than the hub.
  const awake = async (serial) => {
    const device = await enrolledDevice(hub, serial, { words: ['-k'] });
    await confirmed(device);
    return device;
  };
  const confirmed = async (device) => {
    assert.equal((await as(hub, device, '/v1/device/self', ['-k'])).status, 200);
    await until('it is confirmed', async () => (await show(device.serial)).certificate.status === 'active');
  };
  const comeBack = async (device, key, { name = device.serial, certificate = device.certificate, own = device.key } = {}) =>
    curl(hub, 'bootstrap', '/.well-known/est/simplereenroll',
         ['-k', '--cert', certificate, '--key', own, '-H', 'Content-Type: application/pkcs10'], await csrBody(key, `/CN=${name}`));
  const fresh = (name) => newKey(join(hub.folder, `${name}.key`));

  it('brings a device back by itself within its grace, with a fresh key', async () => {
    const device = await awake('sleeper');
    const key = await fresh('sleeper-2');
    refused(await comeBack(device, key), 403, 'certificate-in-date');
    await sleep(29 * DAY);
    assert.ok((await as(hub, device, '/v1/device/self', ['-k'])).curl, 'the device listener takes no expired certificate');
    assert.equal((await show('sleeper')).grace.state, 'open');
    refused(await comeBack(device, device.key), 409, 'key-not-fresh');
    const answer = await comeBack(device, key);
    assert.equal(answer.status, 200, JSON.stringify(answer.json));
    assert.equal((await show('sleeper')).state, 'enrolled');
    assert.deepEqual((await comeBack(device, key)).body, answer.body, 'the answer may have been lost');

    const back = { ...device, key, certificate: await keepCertificate(answer, join(hub.folder, 'sleeper-2.crt')) };
    refused(await curl(hub, 'device', '/v1/device/checkin', ['-k', '--cert', back.certificate, '--key', key, '-H', 'Content-Type: application/json'],
                       JSON.stringify({ agent_version: '1.0.0', uptime_seconds: 1 })), 403, 'device-not-trusted');
    await until('it is trusted', async () => (await show('sleeper')).state === 'trusted');
    const acts = (await hub.ledger()).filter(({ subject }) => subject === 'device/sleeper').slice(-2);
    assert.deepEqual(acts.map(({ act }) => act), ['device.enrol', 'device.confirm']);
    assert.equal(acts[0].data.by, 'expired-certificate');
    assert.equal(acts[0].data.grace, 'open');
    assert.equal(acts[0].data.state, 'enrolled');
    assert.equal(acts[1].data.state, 'trusted');
    assert.equal(acts[1].data.retired, acts[0].data.expired);

    // the same request again, and the old certificate with another key: both are over
    refused(await comeBack(device, key), 403, 'certificate-not-current');
    refused(await comeBack(device, await fresh('sleeper-3')), 403, 'certificate-not-current');
    assert.match(hub.log, / device\.retired_certificate_shown .*device=default\/sleeper/);
    // and it lives on as any device does
    const renewed = await curl(hub, 'device', '/.well-known/est/simplereenroll',
                               ['-k', '--cert', back.certificate, '--key', key, '-H', 'Content-Type: application/pkcs10'],
                               await csrBody(await fresh('sleeper-4'), '/CN=sleeper'));
    assert.equal(renewed.status, 200);
  });

  it('takes no certificate that is not the device\'s own', async () => {
    const device = await awake('victim');
    await sleep(2 * HOUR);
    const key = await fresh('thief');
    const text = (await openssl(['x509', '-in', device.certificate, '-noout', '-serial', '-subject', '-nameopt', 'oneline'])).toString();
    const serial = text.match(/serial=([0-9A-F]+)/)[1];
    const forged = join(hub.folder, 'forged.crt');
    // the same number and name, of another authority
    await openssl(['req', '-x509', '-key', key, '-subj', '/CN=victim', '-set_serial', `0x${serial}`, '-days', '1', '-out', forged]);
    refused(await comeBack(device, key, { certificate: forged, own: key }), 403, 'certificate-unknown');
    // no certificate at all
    refused(await curl(hub, 'bootstrap', '/.well-known/est/simplereenroll', ['-k', '-H', 'Content-Type: application/pkcs10'],
                       await csrBody(key, '/CN=victim')), 401, 'certificate-required');
    // the certificate without its key does not come through the handshake
    assert.ok((await comeBack(device, key, { own: key })).curl, 'curl has the key of this certificate only');
    // another device's expired certificate names the other device, whatever the request says
    const other = await awake('other');
    await sleep(2 * HOUR);
    refused(await comeBack(other, key, { name: 'victim' }), 400, 'csr-name-mismatch');
    // and it is no way in for whoever has a claim to make
    refused(await enrol(hub, undefined, undefined, await csrBody(key, '/CN=victim'), ['-k', '--cert', device.certificate, '--key', device.key]),
            401, 'enrolment-refused');
    assert.equal((await show('victim')).state, 'trusted');
    assert.equal((await comeBack(device, key)).status, 200, 'its own, with a fresh key, is taken');
  });

  it('takes none that was replaced, or that was never used', async () => {
    const device = await awake('renewed');
    const second = await fresh('renewed-2');
    const answer = await curl(hub, 'device', '/.well-known/est/simplereenroll',
                              ['-k', '--cert', device.certificate, '--key', device.key, '-H', 'Content-Type: application/pkcs10'],
                              await csrBody(second, '/CN=renewed'));
    const unused = await keepCertificate(answer, join(hub.folder, 'renewed-2.crt'));
    await sleep(2 * HOUR);
    const key = await fresh('renewed-3');
    refused(await comeBack(device, key, { certificate: unused, own: second }), 403, 'certificate-not-current');
    refused(await comeBack(device, second), 409, 'key-not-fresh');
    assert.equal((await comeBack(device, key)).status, 200);
  });

  it('needs a person past the window, and her word serves once', async () => {
    const device = await awake('drawer');
    await sleep(HOUR + 30 * DAY + 60);
    const key = await fresh('drawer-2');
    const answer = await comeBack(device, key);
    refused(answer, 403, 'grace-over');
    assert.match(answer.json.detail, /holdfast device readmit drawer/);
    const shown = await must('device', 'show', 'drawer');
    assert.match(shown, /grace\s+over since /);
    assert.match(shown, /next step\s+holdfast device readmit drawer --reason WHY/);

    const said = await hub.cli('device', 'readmit', 'drawer', '--reason', 'found in a drawer', '--for', '1h');
    assert.equal(said.code, 0, said.stderr);
    assert.match(said.stdout + said.stderr, /drawer may come back once, until /);
    assert.equal((await show('drawer')).grace.state, 'readmitted');
    const back = await comeBack(device, key);
    assert.equal(back.status, 200, JSON.stringify(back.json));
    refused(await comeBack(device, await fresh('drawer-3')), 403, 'grace-over');
    assert.deepEqual((await comeBack(device, key)).status, 200, 'the answer may have been lost');
    const acts = (await hub.ledger()).filter(({ subject }) => subject === 'device/drawer').slice(-2);
    assert.deepEqual(acts.map(({ act }) => act), ['device.readmit', 'device.enrol']);
    assert.match(acts[0].data.reason, /^~\d+:[0-9a-f]+$/);
    assert.equal(acts[1].data.grace, 'readmitted');
    await confirmed({ ...device, key, certificate: await keepCertificate(back, join(hub.folder, 'drawer-2.crt')) });
    assert.equal((await show('drawer')).state, 'trusted');

    const nobody = await hub.cli('device', 'readmit', 'nobody', '--reason', 'x', '--json');
    assert.equal(JSON.parse(nobody.stdout).results[0].problem.code, 'device-not-found');
    const long = await hub.cli('device', 'readmit', 'drawer', '--reason', 'x', '--for', '10y');
    assert.match(long.stderr, /within the next 90 days/);
  });

  it('lets nobody back whose keys were touched, or who was cut off', async () => {
    const device = await awake('touched');
    const key = await fresh('touched-2');
    await must('device', 'quarantine', 'touched', '--reason', 'case open', '--keys-touched');
    await sleep(2 * HOUR);
    refused(await comeBack(device, key), 403, 'grace-closed');
    assert.match((await hub.cli('device', 'release', 'touched', '--reason', 'looked at')).stderr, /holdfast device readmit touched/);
    assert.match(await must('device', 'show', 'touched'), /next step\s+holdfast device readmit touched/);
    const entry = (await hub.ledger()).find(({ act, subject }) => act === 'device.quarantine' && subject === 'device/touched');
    assert.equal(entry.data.keys, 'touched');
    await must('device', 'revoke', 'touched', '--reason', 'gone', '--yes');
    refused(await comeBack(device, key), 403, 'device-revoked');
  });

  it('opens nothing again when its clock is set back', async () => {
    const device = await awake('backwards');
    await sleep(HOUR + 30 * DAY + 60);
    const key = await fresh('backwards-2');
    refused(await comeBack(device, key), 403, 'grace-over');
    await must('model', 'change', 'thermo', '--grace', '30d'); // an entry says what time it is
    await clock.set(now - DAY);
    refused(await comeBack(device, key), 403, 'grace-over');
    await clock.set(now - 31 * DAY - 2 * HOUR);
    refused(await comeBack(device, key), 403, 'certificate-in-date');
    await clock.set(now);
  });

  it('writes refusals down as findings that name the device', async () => {
    await hub.restart();
    const findings = (await hub.ledger()).filter(({ act }) => act === 'finding.refused');
    const of = (kind, source) => findings.find(({ data }) => data.kind === kind && data.source === source);
    assert.ok(of('grace-over', 'device:default/drawer'), JSON.stringify(findings.map(({ data }) => [data.kind, data.source])));
    assert.ok(of('grace-closed', 'device:default/touched'));
    assert.ok(of('retired-certificate-shown', 'default/sleeper'));
    assert.equal(of('certificate-unknown', '127.0.0.1').data.count, 1);
  });

  it('has no grace where the model has none', async () => {
    await must('model', 'change', 'thermo', '--grace', 'none');
    assert.match(await must('model', 'show', 'thermo'), /grace\s+none/);
    const device = await awake('strict');
    await sleep(HOUR + 60);
    refused(await comeBack(device, await fresh('strict-2')), 403, 'grace-over');
  });
});

describe('asleep past expiry, with the agent', { timeout: 120000 }, () => {
  let hub, clock;
  let now = 0;

  before(async () => {
    hub = await Hub.start({ 'checkin-interval': '1s' }, {
      prepare: async (made) => {
        clock = await Clock.make(join(made.folder, 'clock'));
        made.options.env = made.options.cliEnv = clock.env;
      },
    });
    await hub.factory({ lifetime: HOUR });
    await hub.must(201, 'POST', '/v1/models', { id: 'judged', maker: 'acme', proof: 'approval', key_kinds: ['P-256'],
                                                lifetime_seconds: HOUR, enrolled_lifetime_seconds: 600, grace_seconds: 30 * DAY });
    await hub.must(201, 'POST', '/v1/manifests', { id: 'judged', model: 'judged', owner: 'acme' });
  });
  after(() => hub?.stop());

  const show = async (id) => hub.must(200, 'GET', `/v1/devices/${id}`);
  const awake = async (serial, code) => {
    const agent = await Agent.make(hub, serial, { code, config: { 'refused-retry': '60s' } });
    agent.start({ env: clock.env });
    await agent.saw('device.enrolled');
    return agent;
  };
  // Switched off for so long.
  const asleep = async (agent, seconds) => {
    await agent.stop();
    await clock.set(now += seconds);
    agent.log = '';
  };

  it('comes back by itself and goes on', async () => {
    const { 'a-1': code } = await hub.claims('a-1');
    const agent = await awake('a-1', code);
    await agent.saw('device.checked_in');
    const old = (await show('a-1')).certificate.serial;
    await asleep(agent, 20 * DAY);
    agent.start({ env: clock.env });
    await agent.saw('device.confirmed');
    await agent.saw('device.key_retired');
    await agent.saw('device.checked_in');
    assert.equal(agent.events('device.refused').length, 0, agent.log);
    const device = await show('a-1');
    assert.equal(device.state, 'trusted');
    assert.notEqual(device.certificate.serial, old);
    // the short life of the way back is renewed like any other
    agent.signal('SIGUSR1');
    await agent.saw('device.confirmed', 2);
    const { certificates } = await hub.must(200, 'GET', '/v1/devices/a-1/certificates');
    const lifetime = ({ not_before: from, not_after: to }) => (Date.parse(to) - Date.parse(from)) / 1000;
    assert.ok(lifetime(certificates[0]) > HOUR && lifetime(certificates[1]) < HOUR, JSON.stringify(certificates));
    assert.deepEqual(certificates.map(({ status }) => status), ['active', 'retired', 'retired']);
    await agent.stop();
  });

  it('waits for a person where its model asks for one', async () => {
    const rows = [{ serial: 'a-2', claim: { expires_at: '2099-01-01T00:00:00Z' } }];
    const { devices } = await hub.must(201, 'POST', '/v1/manifests/judged/devices', { rows });
    const agent = await awake('a-2', devices[0].claim_code);
    await hub.must(200, 'POST', '/v1/devices/a-2/approve', { reason: 'seen' });
    await agent.saw('device.checked_in');
    await asleep(agent, 2 * HOUR);
    agent.start({ env: clock.env });
    await agent.saw('device.waiting');
    assert.equal((await show('a-2')).state, 'enrolled');
    await hub.must(200, 'POST', '/v1/devices/a-2/approve', { reason: 'seen again' });
    await agent.saw('device.checked_in');
    await agent.stop();
  });

  it('says what to do when it stays out, and comes back when that was done', async () => {
    const { 'a-3': code } = await hub.claims('a-3');
    const agent = await awake('a-3', code);
    await agent.saw('device.checked_in');
    await asleep(agent, HOUR + 30 * DAY + 60);
    const out = await agent.once({ env: clock.env });
    assert.equal(out.code, 3, agent.log);
    assert.equal(agent.events('device.refused').length, 1, 'it asks once');
    assert.match(agent.events('device.refused')[0], /code=grace-over .*retry_ms=\d+ .*hint="[^"]*holdfast device readmit a-3"/);
    const { code: done, stderr } = await hub.cli('device', 'readmit', 'a-3', '--reason', 'found');
    assert.equal(done, 0, stderr);
    agent.start({ env: clock.env });
    await agent.saw('device.checked_in');
    assert.equal((await show('a-3')).state, 'trusted');
    await agent.stop();
  });
});
