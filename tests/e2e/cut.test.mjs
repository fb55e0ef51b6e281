// One command cuts devices off, and each leg says that it has seen them gone.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { Fleet } from './lib/fleet.mjs';
import { Hub, as, enrolledDevice, openssl, sleep, until } from './lib/hub.mjs';
import { misfits, operation } from './lib/contract.mjs';
import { connect } from './lib/wire.mjs';

const SELF = '/v1/device/self';

const used = async (hub, device) => {
  const wire = await connect(hub, 'device', { device });
  assert.equal((await wire.request('GET', SELF)).status, 200);
  return wire;
};
const cut = (hub, move, what) => hub.must(200, 'POST', '/v1/cuts', { move, reason: 'a test', ...what });
const named = (...ids) => ({ devices: ids.map((id) => ({ id })) });
const cutOf = (hub, id) => hub.must(200, 'GET', `/v1/devices/${id}/cut`);
const complete = (hub, id) => until(`the cut of ${id} is complete`, async () => {
  const found = await cutOf(hub, id);
  return found.status === 'complete' && found;
});
const stateOf = async (hub, id) => (await hub.must(200, 'GET', `/v1/devices/${id}`)).state;

describe('a cut', { timeout: 120000 }, () => {
  let hub;
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    await hub.claims(...Array.from({ length: 300 }, (_, i) => `spare-${String(i).padStart(3, '0')}`));
  });
  after(() => hub.stop());

  it('is confirmed by the hub that closed its connections', async () => {
    const device = await enrolledDevice(hub, 'alone');
    const wires = await Promise.all([used(hub, device), used(hub, device), used(hub, device)]);
    await hub.must(200, 'POST', '/v1/devices/alone/quarantine', { reason: 'a test' });
    for (const wire of wires) assert.ok(await wire.endsWithin(5000));
    const found = await complete(hub, 'alone');
    assert.deepEqual(misfits(found, operation('device_cut').responses[200].content['application/json'].schema), []);
    const [leg] = found.legs;
    assert.deepEqual([found.state, found.legs.length, leg.leg, leg.status, leg.detail],
                     ['quarantined', 1, 'api/1', 'confirmed', 'connections closed: 3']);
    assert.deepEqual((await hub.must(200, 'GET', '/v1/devices/alone')).cut, found);
    const entries = await hub.ledger();
    assert.equal(entries[found.entry].act, 'device.quarantine');
    const said = entries.find(({ act, subject }) => act === 'device.cut-leg' && subject === 'device/alone');
    assert.deepEqual(said.data, { leg: 'api/1', cut: found.entry, latency_ms: leg.latency_ms, detail: leg.detail, complete: true });
    await hub.must(200, 'POST', '/v1/devices/alone/release', { reason: 'a test' });
    assert.equal((await hub.api('GET', '/v1/devices/alone/cut')).body.code, 'cut-not-found');
    assert.equal((await as(hub, device, SELF)).json.state, 'trusted');
  });

  it('takes many at a time, in one write', async () => {
    const ids = ['many-1', 'many-2', 'many-3', 'many-4'];
    const devices = await Promise.all(ids.map((id) => enrolledDevice(hub, id)));
    const wires = await Promise.all(devices.map((device) => used(hub, device)));
    const other = await used(hub, await enrolledDevice(hub, 'bystander'));
    const done = await cut(hub, 'revoke', named('many-2', 'many-1', 'many-2', 'many-3', 'many-4'));
    assert.deepEqual(done.devices.map(({ id, state }) => [id, state]),
                     ['many-2', 'many-1', 'many-2', 'many-3', 'many-4'].map((id) => [id, 'revoked']));
    const [first, second, again, ...rest] = done.devices.map(({ entry }) => entry);
    assert.deepEqual([second, again, ...rest], [first + 1, undefined, first + 2, first + 3], 'one entry each, side by side');
    for (const wire of wires) assert.ok(await wire.endsWithin(5000));
    for (const id of ids) assert.equal((await complete(hub, id)).legs[0].detail, 'connections closed: 1');
    assert.equal((await other.request('GET', SELF)).status, 200);
    other.destroy();
    assert.deepEqual((await cut(hub, 'revoke', named('many-1'))).devices, [{ id: 'many-1', state: 'revoked' }], 'said again, nothing is left to do');
  });

  it('does nothing unless all that are named can be cut, and says which can not', async () => {
    const acts = await hub.acts();
    const refused = async (status, code, field, body) => {
      const answer = await hub.api('POST', '/v1/cuts', { move: 'revoke', reason: 'a test', ...body });
      assert.deepEqual([answer.status, answer.body.code, answer.body.field], [status, code, field], JSON.stringify(answer.body));
    };
    await hub.must(200, 'POST', '/v1/devices/spare-299/retire', { reason: 'a test' });
    await refused(404, 'device-not-found', 'devices[1].id', named('spare-001', 'nobody', 'spare-002'));
    await refused(409, 'move-not-possible', 'devices[2].id', named('spare-001', 'spare-002', 'spare-299'));
    await refused(409, 'move-not-possible', 'devices[0].id', { ...named('spare-001'), move: 'quarantine' });
    await refused(400, 'cut-both', 'devices', { ...named('spare-001'), model: 'thermo' });
    await refused(400, 'cut-nobody', 'devices', {});
    await refused(400, 'cut-nobody', 'devices', { after: 'a' });
    await refused(404, 'subject-not-found', 'owner', { owner: 'nobody' });
    await refused(400, 'field-value', 'keys', { ...named('spare-001'), keys: 'touched' });
    const most = Array.from({ length: 257 }, () => 'spare-001');
    assert.equal((await hub.api('POST', '/v1/cuts', { move: 'revoke', reason: 'x', ...named(...most) })).status, 400);
    const flood = await hub.api('POST', '/v1/cuts', { move: 'revoke', reason: 'x', ...named(...Array.from({ length: 10000 }, (_, i) => `spare-${i}`)) });
    assert.deepEqual([flood.status, flood.body.code], [413, 'too-large']);
    assert.equal(await stateOf(hub, 'spare-001'), 'expected');
    assert.equal(await hub.acts(), acts + 2, 'one retirement and its leg');
  });

  it('takes all that match, 256 at a time, and goes on where it was broken off', async () => {
    const filter = { manifest: 'batch', state: 'expected' };
    const { devices: count } = await hub.must(200, 'GET', '/v1/cuts/count?move=retire&manifest=batch&state=expected');
    assert.equal(count, 299);
    assert.equal((await hub.must(200, 'GET', '/v1/cuts/count?move=release&manifest=batch')).devices, 0);
    const first = await cut(hub, 'retire', filter);
    assert.equal(first.devices.length, 256);
    assert.equal(first.next, first.devices.at(-1).id);
    const whole = { manifest: 'batch', model: 'thermo' }; // said again, another way: with those that are retired already
    let after, moved = 0;
    do {
      const done = await cut(hub, 'retire', { ...whole, ...after });
      moved += done.devices.filter(({ entry }) => entry !== undefined).length;
      after = done.next && { after: done.next };
    } while (after);
    assert.equal(moved, 299 - 256 + 2, 'the rest, and two that were trusted');
    await until('all are complete', async () => (await hub.must(200, 'GET', '/v1/cuts?status=open')).cuts.length === 0);
    const page = await hub.must(200, 'GET', '/v1/cuts?limit=1000');
    assert.deepEqual([page.cuts.length, page.cuts[0].device, page.next], [100, 'alone', page.cuts.at(-1).device]);
    const { cuts: [next] } = await hub.must(200, 'GET', `/v1/cuts?limit=1&after=${page.next}`);
    assert.ok(next.device > page.next);
  });
});

describe('the command', { timeout: 120000 }, () => {
  let hub;
  before(async () => {
    hub = await Hub.start({ 'listen-status': '127.0.0.1:0' });
    await hub.factory();
  });
  after(() => hub.stop());

  const run = (...words) => hub.cli('device', ...words, '--reason', 'a test', '--yes');
  const ok = async (...words) => {
    const { code, stdout, stderr } = await run(...words);
    assert.equal(code, 0, stderr);
    return stdout + stderr;
  };
  const status = async (device) => {
    const said = await openssl(['ocsp', '-issuer', join(hub.state, 'signer', 'issuing.pem'), '-cert', device.certificate, '-CAfile', hub.roots,
                               '-url', `http://127.0.0.1:${hub.ports.status}/ocsp`, '-no_nonce']);
    return said.toString();
  };

  it('shows each leg, and what others are told, as openssl is', async () => {
    const device = await enrolledDevice(hub, 'shown');
    const wire = await used(hub, device);
    const said = await ok('quarantine', 'shown');
    assert.ok(await wire.endsWithin(5000));
    assert.match(said, /^shown is quarantined\.\nOthers that asked by OCSP before may go by that answer until .*\n/);
    assert.match(said, /^ {2}ocsp +revoked after \d+ ms; certificateHold$/m);
    assert.match(said, /^ {2}api\/1 +gone after \d+ ms; connections closed: 1$/m);
    assert.match(await status(device), /: revoked[^]*certificateHold/);
    assert.match((await hub.cli('device', 'show', 'shown')).stdout, /api\/1 +gone after \d+ ms/);
    assert.equal(await ok('release', 'shown'), 'shown is trusted.\n');
    assert.match(await status(device), /: good/);
    const { code, stdout } = await run('revoke', 'shown', '--json');
    const out = JSON.parse(stdout);
    assert.deepEqual([code, out.status, out.legs.map(({ leg, status: is, confirmed }) => [leg, is, confirmed])],
                     [0, 'complete', [['ocsp', 'confirmed', 1], ['api/1', 'confirmed', 1]]]);
    assert.match(await status(device), /: revoked/);
  });

  it('takes those that a filter leaves, and asks first', async () => {
    for (const id of ['f-1', 'f-2', 'f-3']) await enrolledDevice(hub, id);
    const { code, stderr } = await hub.cli('device', 'quarantine', '--model', 'thermo', '--reason', 'a test');
    assert.deepEqual([code, /--yes/.test(stderr)], [2, true]);
    const said = await ok('quarantine', '--model', 'thermo', '--state', 'trusted');
    assert.match(said, /^3 devices are quarantined\./);
    for (const id of ['f-1', 'f-2', 'f-3']) {
      assert.match(said, new RegExp(`^ {2}${id}: ocsp +revoked after \\d+ ms; certificateHold$`, 'm'));
      assert.match(said, new RegExp(`^ {2}${id}: api/1 +gone after \\d+ ms; connections closed: 0$`, 'm'));
    }
    for (const leg of [/ocsp +all 3 revoked/, /api\/1 +all 3 gone/])
      assert.match(said, new RegExp(`^ {2}${leg.source}: p50 \\d+ ms, p99 \\d+ ms, slowest \\d+ ms$`, 'm'));
    assert.match(await ok('quarantine', '--where', 'manifest=batch,state=trusted'), /^0 devices are quarantined\./);
    assert.match(await ok('release', '--where', 'model=thermo,state=quarantined'), /^3 devices are released\./);
    for (const words of [['f-1', '--model', 'thermo'], [], ['--where', 'colour=red'], ['--where', 'model'], ['--where', 'model=a', '--model', 'a']])
      assert.equal((await run('revoke', ...words)).code, 2, words.join(' '));
    assert.match((await hub.cli('device', 'cuts')).stdout, /shown +revoked/);
    assert.match((await hub.cli('device', 'cuts', '--open')).stderr, /^No cut is open/);
  });

  it('tells the sums of more than it shows one by one, and all of them in JSON', async () => {
    const ids = Array.from({ length: 300 }, (_, i) => `crowd-${String(i).padStart(3, '0')}`);
    await hub.claims(...ids);
    const retired = await ok('retire', '--where', 'manifest=batch,state=expected');
    assert.match(retired, /^300 devices are retired\.[^]*^ {2}ocsp +256 of 300 devices are asked for$[^]*^ {2}api\/1 +all 300 gone: p50 \d+ ms, p99 \d+ ms, slowest \d+ ms$/m);
    assert.equal(retired.match(/^ {2}crowd-\d+: api\/1 +gone after/gm).length, 10);
    const more = ids.map((id) => `m${id}`);
    await hub.claims(...more);
    const { code, stdout } = await run('revoke', '--where', 'manifest=batch,state=expected', '--json');
    const out = JSON.parse(stdout), [leg] = out.legs;
    assert.deepEqual([code, out.status, out.moved, out.ocsp_asked, out.legs.length], [0, 'complete', 300, 256, 1]);
    assert.deepEqual([leg.leg, leg.status, leg.devices, leg.confirmed], ['api/1', 'confirmed', 300, 300]);
    assert.deepEqual(out.cuts.map(({ device }) => device).sort(), more);
    const ms = out.cuts.map(({ legs: [{ latency_ms }] }) => latency_ms).sort((a, b) => a - b);
    assert.deepEqual([leg.p50_ms, leg.p99_ms, leg.latency_ms], [ms[149], ms[296], ms[299]], 'by nearest rank');
    assert.ok(out.cuts.every(({ status, state, legs }) => status === 'complete' && state === 'revoked' && legs.length === 1));
  });
});

describe('a hub that is killed in the middle of cuts', { timeout: 120000 }, () => {
  it('has them all confirmed after its restart', async (t) => {
    const hub = await Hub.start();
    try {
      await hub.factory();
      let open = 0;
      for (let round = 0; round < 6; round++) {
        const ids = Array.from({ length: 40 }, (_, i) => `r${round}-${i}`);
        await hub.claims(...ids);
        const answers = ids.map((id) => hub.api('POST', `/v1/devices/${id}/revoke`, { reason: 'a test' }).catch(() => undefined));
        await Promise.race([sleep(randomInt(30)), Promise.all(answers)]);
        await hub.end('SIGKILL');
        const said = (await Promise.all(answers)).filter((answer) => answer?.status === 200).length;
        await hub.launch();
        const gone = [];
        for (const id of ids) if ((await stateOf(hub, id)) === 'revoked') gone.push(id);
        assert.ok(gone.length >= said, 'what was answered stays');
        open += gone.length - said;
        for (const id of gone) assert.deepEqual((await complete(hub, id)).legs.map(({ leg, status }) => [leg, status]), [['api/1', 'confirmed']]);
      }
      t.diagnostic(`${open} cuts were durable and not answered`);
    } finally {
      await hub.discard();
    }
  });
});

describe('a cut among two hubs', { timeout: 180000 }, () => {
  let fleet, a, b;
  before(async () => {
    fleet = await Fleet.start(2);
    [a, b] = fleet.hubs;
    await a.factory();
  });
  after(() => fleet.stop());

  it('is confirmed by both, whichever is asked', async () => {
    const device = await enrolledDevice(b, 'both');
    const wires = await Promise.all([used(a, device), used(b, device), used(b, device)]);
    await a.must(200, 'POST', '/v1/devices/both/revoke', { reason: 'a test' });
    for (const wire of wires) assert.ok(await wire.endsWithin(5000));
    for (const hub of [a, b]) {
      const found = await complete(hub, 'both');
      assert.deepEqual(found.legs.map(({ leg, status, detail }) => [leg, status, detail]),
                       [['api/1', 'confirmed', 'connections closed: 1'], ['api/2', 'confirmed', 'connections closed: 2']]);
    }
  });

  it('waits for the one that is away, for ever, and is complete once it is back', async () => {
    await a.claims('patient', 'patient-2');
    await b.end('SIGKILL');
    await cut(a, 'revoke', named('patient', 'patient-2'));
    const found = await cutOf(a, 'patient');
    assert.equal(found.status, 'open');
    const { code, stdout, stderr } = await a.cli('--json', 'device', 'revoke', 'patient', '--reason', 'a test', '--yes', '--wait', '1s');
    assert.deepEqual([code, JSON.parse(stdout).status, /api\/2/.test(stderr)], [7, 'open', true]);
    assert.match((await a.cli('device', 'cuts', '--open')).stdout, /patient +revoked +.* open +api\/2/);
    await a.claims('patient-3', 'patient-4');
    const some = await a.cli('device', 'revoke', '--where', 'manifest=batch,state=expected', '--reason', 'a test', '--yes', '--wait', '1s');
    assert.equal(some.code, 7, 'not seen by all is not done');
    assert.match(some.stdout + some.stderr, /^2 devices are revoked\.[^]*api\/1 +all 2 gone: p50 [^]*api\/2 +none of 2 gone$[^]*not seen yet by api\/2 \(0 of 2\)/m);
    assert.deepEqual(found.legs.map(({ leg, status }) => [leg, status]), [['api/1', 'confirmed'], ['api/2', 'open']]);
    assert.deepEqual((await a.must(200, 'GET', '/v1/cuts?status=open')).cuts.map(({ device }) => device), ['patient', 'patient-2', 'patient-3', 'patient-4']);
    await b.launch();
    for (const id of ['patient', 'patient-2', 'patient-3', 'patient-4']) await complete(a, id);
  });

  it('waits no more for one that was removed', async () => {
    await a.claims('left');
    await b.end('SIGKILL');
    await cut(a, 'revoke', named('left'));
    assert.equal((await cutOf(a, 'left')).status, 'open');
    await a.must(200, 'POST', '/v1/hubs/hub-2/remove', { reason: 'a test' });
    assert.deepEqual((await complete(a, 'left')).legs.map(({ leg }) => leg), ['api/1']);
    fleet.hubs.pop();
    await b.discard();
  });
});
