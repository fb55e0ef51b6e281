// Several hubs over one database: how they join and leave, and that they are one fleet meanwhile.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Fleet } from './lib/fleet.mjs';
import { Hub, as, csrBody, curl, enrolledDevice, keepCertificate, newKey, openssl, programs, renew, until } from './lib/hub.mjs';
import { answerMisfits, contract, misfits, operation } from './lib/contract.mjs';
import { connect } from './lib/wire.mjs';

const run = promisify(execFile);
const SELF = '/v1/device/self';

// What both serve, once neither is behind the other; entries that are there by then are the same.
async function sameLedger(one, other) {
  const all = await one.ledger();
  const theirs = await until('the other knows as much', async () => {
    const entries = await other.ledger();
    return entries.length >= all.length && entries;
  });
  assert.deepEqual(theirs.slice(0, all.length), all);
  return all;
}

describe('two hubs', { timeout: 180000 }, () => {
  let fleet, a, b;
  before(async () => {
    fleet = await Fleet.start(2);
    [a, b] = fleet.hubs;
    await a.factory();
  });
  after(() => fleet.stop());

  const move = (hub, verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });
  const used = async (hub, device) => {
    const wire = await connect(hub, 'device', { device });
    assert.equal((await wire.request('GET', SELF)).status, 200);
    return wire;
  };

  it('are listed by both, with keys of their own', async () => {
    const { hubs } = await b.must(200, 'GET', '/v1/hubs');
    assert.deepEqual(hubs.map(({ name, status }) => [name, status]), [['hub-1', 'joined'], ['hub-2', 'joined']]);
    for (const key of ['issuing_sha256', 'ledger_key']) assert.notEqual(hubs[0][key], hubs[1][key]);
    assert.match((await b.cli('hub', 'list')).stdout, /hub-2 \(this one\) +joined/);
    assert.deepEqual(JSON.parse((await b.cli('--json', 'hub', 'list')).stdout), { hubs });
    assert.equal((await b.must(200, 'GET', '/v1/hub')).name, 'hub-2');
    const acts = (await a.ledger()).filter(({ act }) => act === 'hub.join');
    assert.deepEqual(acts.map(({ subject, actor }) => [subject, actor.split(':')[0]]), [['hub/hub-1', 'hub'], ['hub/hub-2', 'local']]);
    assert.equal(acts[1].data.ledger_key, hubs[1].ledger_key);
  });

  it('share no key: what is on one machine is not on the other', async () => {
    for (const name of ['issuing.key', 'ledger.key'])
      assert.notEqual(await readFile(join(a.state, 'signer', name), 'utf8'), await readFile(join(b.state, 'signer', name), 'utf8'));
    for (const text of [await readFile(b.request, 'utf8'), await readFile(b.card, 'utf8')]) assert.doesNotMatch(text, /PRIVATE/);
  });

  it('take the devices of either, and renew them', async () => {
    const device = await enrolledDevice(a, 'either-1');
    for (const hub of [b, a]) assert.equal((await as(hub, device, SELF)).status, 200);
    const key = await newKey(join(b.folder, 'either-1.key'));
    const answer = await renew(b, device, await csrBody(key, '/CN=either-1'));
    assert.equal(answer.status, 200);
    const renewed = { key, certificate: await keepCertificate(answer, join(b.folder, 'either-1.crt')) };
    assert.equal((await as(a, renewed, SELF)).status, 200);
    await until('the certificate before it is retired', async () => (await as(b, device, SELF)).json?.code === 'certificate-retired');
  });

  it('give an answer that was lost again, whichever is asked', async () => {
    const device = await enrolledDevice(a, 'again-1');
    const key = await newKey(join(a.folder, 'again-1.next'));
    const body = await csrBody(key, '/CN=again-1');
    const first = await renew(a, device, body), second = await renew(b, device, body);
    assert.equal(second.status, 200);
    assert.deepEqual(second.body, first.body);
  });

  it('tell both issuing certificates to who asks for the authorities', async () => {
    for (const hub of [a, b]) {
      const { body } = await curl(hub, 'bootstrap', '/.well-known/est/cacerts');
      const pem = (await openssl(['pkcs7', '-inform', 'DER', '-print_certs'], Buffer.from(body.toString(), 'base64'))).toString();
      assert.equal(pem.match(/subject=/g).length, 2);
      assert.match(pem, /subject=.*OU ?= ?hub-2/);
    }
  });

  it('refuse what was revoked on the other: at once, and on connections that are open', async (t) => {
    const device = await enrolledDevice(b, 'cut-1');
    const other = await enrolledDevice(a, 'bystander');
    const wires = await Promise.all(Array.from({ length: 8 }, () => used(b, device)));
    const bystander = await used(b, other);
    const start = performance.now();
    await move(a, 'revoke', 'cut-1');
    const answered = performance.now() - start;
    const asked = await as(b, device, SELF);
    assert.equal(asked.json.code, 'device-revoked');
    for (const wire of wires) assert.ok(await wire.endsWithin(5000), 'closed');
    t.diagnostic(`answered after ${answered.toFixed(1)} ms; elsewhere the last of 8 connections was closed after `
      + `${Math.max(...wires.map(({ closedAt }) => closedAt - start)).toFixed(1)} ms`);
    assert.equal((await bystander.request('GET', SELF)).status, 200, 'the others go on');
    bystander.destroy();
    await until('it is told', () => b.log.includes('device.cut_elsewhere connections_closed=8'));
  });

  it('close the connections of what was quarantined or retired on the other, too', async () => {
    for (const verb of ['quarantine', 'retire']) {
      const device = await enrolledDevice(a, `cut-${verb}`);
      const wire = await used(a, device);
      await move(b, verb, `cut-${verb}`);
      assert.ok(await wire.endsWithin(5000), verb);
    }
  });

  it('serve the trust bundle that was installed on the other', async () => {
    const device = await enrolledDevice(a, 'bundle-1');
    const installed = await a.cli('--state', a.state, 'ca', 'bundle', '--install');
    assert.equal(installed.code, 0, installed.stderr);
    const { trust_bundle_version: version } = await a.must(200, 'GET', '/v1/hub');
    await until('the other says so', async () => (await b.must(200, 'GET', '/v1/hub')).trust_bundle_version === version);
    const bundle = (await as(b, device, '/v1/device/trust-bundle')).body.toString();
    assert.match(bundle, new RegExp(`^version ${version}$`, 'm'));
    assert.equal(bundle.match(/^ledger-key /mg).length, 2, 'which keeps both ledger keys');
  });

  it('know the same owners by name, and forget one on both', async () => {
    for (const [hub, id, owner] of [[a, 'owned-a', 'ada'], [b, 'owned-b', 'ada'], [b, 'owned-c', 'bob']])
      await hub.must(201, 'POST', '/v1/manifests', { id, model: 'thermo', owner });
    for (const hub of [a, b])
      assert.equal((await hub.must(200, 'GET', '/v1/manifests/owned-a')).owner, 'ada');
    const { subjects } = await a.must(200, 'GET', '/v1/subjects');
    const [ada, bob] = ['ada', 'bob'].map((name) => subjects.filter((one) => one.name === name));
    assert.equal(ada.length, 1, 'both gave her one number');
    const before = await readFile(join(b.state, 'subjects.keys'));
    const erased = await a.cli('--yes', 'subject', 'erase', ada[0].subject);
    assert.equal(erased.code, 0, erased.stderr);
    await until('the key is gone from the other copy', async () => !(await readFile(join(b.state, 'subjects.keys'))).equals(before));
    assert.notEqual((await b.must(200, 'GET', '/v1/manifests/owned-a')).owner, 'ada');
    assert.equal((await b.must(200, 'GET', '/v1/manifests/owned-c')).owner, 'bob');
    assert.equal(bob.length, 1);
  });

  it('write one ledger, and each signs all of it', async () => {
    await Promise.all([a, b].map((hub, i) => hub.claims(...Array.from({ length: 20 }, (_, n) => `both-${i}-${n}`))));
    const own = await sameLedger(a, b);
    for (const hub of [a, b]) {
      const verified = await hub.cli('ledger', 'verify', '--local', '--key', (await hub.must(200, 'GET', '/v1/hub')).ledger.key);
      assert.equal(verified.code, 0, verified.stderr);
      await until('it has signed it', async () => {
        const { ledger } = await hub.must(200, 'GET', '/v1/hub');
        return ledger.checkpoint_size >= own.length;
      });
    }
  });

  it('go on where one was killed, and it comes back', async () => {
    const device = await enrolledDevice(a, 'killed-1');
    await a.end('SIGKILL');
    assert.equal((await as(b, device, SELF)).status, 200);
    await move(b, 'revoke', 'killed-1');
    await a.launch();
    assert.equal((await as(a, device, SELF)).json.code, 'device-revoked');
    await sameLedger(a, b);
  });
});

describe('a hub that joins', { timeout: 180000 }, () => {
  let fleet, a;
  before(async () => {
    fleet = await Fleet.start(1);
    [a] = fleet.hubs;
    await a.factory();
  });
  after(() => fleet.stop());

  const admit = async (card) => a.api('POST', '/v1/hubs', card, { type: 'text/plain' });
  const refused = (answer, status, code) => {
    assert.equal(answer.body.code, code, JSON.stringify(answer.body));
    assert.equal(answer.status, status);
  };

  it('does not start before it is admitted, and does afterwards; devices of either are good', async () => {
    const hub = await fleet.prepare('hub-2');
    await assert.rejects(hub.launch(), /hub\.membership .*has not been admitted/);
    const keys = await readFile(join(hub.state, 'subjects.keys'));
    await rm(join(hub.state, 'subjects.keys'));
    const device = await enrolledDevice(a, 'early');
    const bundle = await a.cli('ca', 'bundle', '--install', '--from', join(a.state, 'bundle'));
    assert.equal(bundle.code, 0, bundle.stderr);
    const admitted = await admit(await readFile(hub.card));
    assert.equal(admitted.status, 201);
    assert.deepEqual(answerMisfits(operation('hub_admit'), admitted), []);
    await assert.rejects(hub.launch(), /store\.open .*subjects\.keys is not there: copy it from another hub/);
    await writeFile(join(hub.state, 'subjects.keys'), keys, { mode: 0o600 });
    await hub.launch();
    fleet.hubs.push(hub);
    assert.equal((await as(hub, device, SELF)).status, 200);
    const later = await enrolledDevice(hub, 'later');
    assert.equal((await as(a, later, SELF)).status, 200, 'without a restart of the first');
  });

  it('is refused where the card is not the owner\'s, or was used', async () => {
    const hub = await fleet.prepare('hub-3');
    const card = await readFile(hub.card, 'utf8');
    refused(await admit(card), 409, 'hub-key-not-in-bundle');
    const size = (await a.ledger()).length;
    refused(await admit(''), 400, 'hub-card-malformed');
    refused(await admit(card.slice(0, -20)), 400, 'hub-card-malformed');
    refused(await admit(card.replace('name hub-3', 'name hub-4')), 400, 'hub-card-malformed');
    refused(await admit(await readFile(hub.request, 'utf8')), 400, 'hub-card-malformed');
    refused(await admit(await readFile(fleet.hubs[1].card, 'utf8')), 409, 'hub-exists');
    // Another owner, who calls their fleet the same: a root of their own proves nothing here.
    const stranger = new Hub(await mkdtemp(join(a.folder, 'stranger-')));
    await run(programs.cli, ['--state', stranger.state, 'ca', 'init', '--fleet', 'fleet.example']);
    const theirs = join(stranger.folder, 'card');
    await run(programs.cli, ['--state', stranger.state, 'ca', 'certify', hub.request, '-o', theirs]);
    refused(await admit(await readFile(theirs, 'utf8')), 403, 'hub-card-refused');
    assert.equal((await a.ledger()).filter(({ act }) => act === 'hub.join').length, 2);
    assert.ok((await a.ledger()).length >= size);
    const told = await a.cli('hub', 'admit', hub.card);
    assert.equal(told.code, 1);
    assert.match(told.stderr, /ca bundle --install --from/);
    await hub.discard();
  });

  it('leaves when it is removed: it ends, does not start again, and what it certified stays good', async () => {
    const [, hub] = fleet.hubs;
    const device = await enrolledDevice(hub, 'orphan');
    const own = await hub.cli('--yes', 'hub', 'remove', 'hub-2', '--reason', 'moved');
    assert.equal(own.code, 1);
    assert.match(own.stderr, /remove it on another/);
    assert.equal((await a.cli('--yes', 'hub', 'remove', 'hub-9', '--reason', 'moved')).code, 4);
    const removed = await a.cli('--yes', '--json', 'hub', 'remove', 'hub-2', '--reason', 'moved');
    assert.equal(removed.code, 0, removed.stderr);
    assert.deepEqual(misfits(JSON.parse(removed.stdout), contract.components.schemas.FleetHub), []);
    const { code } = await hub.ended;
    assert.equal(code, 1);
    assert.match(hub.log, /hub\.removed hub=hub-2/);
    await assert.rejects(hub.launch(), /hub\.membership .*was removed/);
    fleet.hubs.pop();
    assert.equal((await as(a, device, SELF)).status, 200);
    assert.equal((await renew(a, device, await csrBody(await newKey(join(a.folder, 'orphan.key')), '/CN=orphan'))).status, 200);
    const { hubs } = await a.must(200, 'GET', '/v1/hubs');
    assert.deepEqual(hubs.map(({ name, status, reason }) => [name, status, reason]),
      [['hub-1', 'joined', undefined], ['hub-2', 'left', 'moved']]);
    const entry = (await a.ledger()).find(({ act }) => act === 'hub.leave');
    assert.equal(entry.subject, 'hub/hub-2');
    assert.equal(entry.data.reason, 'moved');
    // Its ledger key goes out of the next bundle.
    const bundle = await a.cli('--state', a.state, 'ca', 'bundle', '--without', hubs[1].ledger_key, '--install');
    assert.equal(bundle.code, 0, bundle.stderr);
    assert.doesNotMatch(await readFile(join(a.state, 'bundle'), 'utf8'), new RegExp(hubs[1].ledger_key.replace(/[+/=]/g, '\\$&')));
    await hub.discard();
  });
});

describe('a hub that does not hear of the others', { timeout: 120000 }, () => {
  it('answers devices 503 after its lease, and serves them again once it does', async () => {
    const fleet = await Fleet.start(1, { config: { lease: '2s' } });
    try {
      const [hub] = fleet.hubs;
      await hub.factory();
      const device = await enrolledDevice(hub, 'patient');
      assert.equal((await as(hub, device, SELF)).status, 200);
      await fleet.postgres.freeze();
      const answer = await until('the lease is over', async () => {
        const one = await as(hub, device, SELF);
        return /lease/.test(one.json?.detail) && one;
      }, 30000);
      assert.equal(answer.status, 503);
      assert.ok(Number(answer.headers['retry-after']) > 0);
      assert.equal((await hub.api('GET', '/v1/health')).status, 503);
      fleet.postgres.thaw();
      await until('it serves again', async () => (await as(hub, device, SELF)).status === 200, 30000);
    } finally {
      await fleet.stop();
    }
  });
});

describe('a hub over SQLite', { timeout: 60000 }, () => {
  it('is its fleet\'s only one, and says so', async () => {
    const hub = await Hub.start();
    try {
      const { hubs } = await hub.must(200, 'GET', '/v1/hubs');
      assert.deepEqual(hubs.map(({ name, status }) => [name, status]), [['hub-1', 'joined']]);
      assert.equal(hubs[0].issuing_sha256, (await hub.must(200, 'GET', '/v1/hub')).ca.issuing_sha256);
      const card = join(hub.folder, 'card');
      await writeFile(card, 'a card');
      const answer = await hub.cli('hub', 'admit', card);
      assert.equal(answer.code, 1);
      assert.match(answer.stderr, /several need one over PostgreSQL/);
      // Other keys over the same database: a hub that nobody admitted.
      await hub.end();
      for (const name of ['signer', 'offline', 'root.pem', 'ledger.vkey', 'policy.vkey', 'bundle.vkey', 'bundle'])
        await rm(join(hub.state, name), { recursive: true });
      await run(programs.cli, ['--state', hub.state, 'ca', 'init', '--fleet', 'fleet.example']);
      await assert.rejects(hub.launch(), /hub\.membership .*has not been admitted/);
    } finally {
      await hub.discard();
    }
  });
});
