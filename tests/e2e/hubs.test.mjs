// Several hubs over one database: how they join, and that they are one fleet.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Fleet } from './lib/fleet.mjs';
import { as, csrBody, curl, enrol, enrolledDevice, keepCertificate, newKey, programs, renew, until } from './lib/hub.mjs';

describe('two hubs', () => {
  let fleet, a, b;
  before(async () => {
    fleet = await Fleet.start(2);
    [a, b] = fleet.hubs;
    await a.factory();
  });
  after(() => fleet.stop());

  test('both are listed, with keys of their own', async () => {
    const { hubs } = await b.must(200, 'GET', '/v1/hubs');
    assert.deepEqual(hubs.map(({ name, status }) => [name, status]), [['hub-1', 'joined'], ['hub-2', 'joined']]);
    assert.notEqual(hubs[0].issuing_sha256, hubs[1].issuing_sha256);
    assert.notEqual(hubs[0].ledger_key, hubs[1].ledger_key);
    const listed = await b.cli('hub', 'list');
    assert.match(listed.stdout, /hub-2 \(this one\)/);
    assert.deepEqual(JSON.parse((await b.cli('--json', 'hub', 'list')).stdout), { hubs });
    const acts = (await a.ledger()).filter(({ act }) => act === 'hub.join');
    assert.deepEqual(acts.map(({ subject, actor }) => [subject, actor.split(':')[0]]), [['hub/hub-1', 'hub'], ['hub/hub-2', 'local']]);
  });

  test('a device of one is a device of the other, and is renewed there', async () => {
    const device = await enrolledDevice(a, 'either-1');
    for (const hub of [a, b]) assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
    const key = await newKey(join(b.folder, 'either-1.key'));
    const answer = await renew(b, device, await csrBody(key, '/CN=either-1'));
    assert.equal(answer.status, 200);
    const renewed = { key, certificate: await keepCertificate(answer, join(b.folder, 'either-1.crt')) };
    assert.equal((await as(a, renewed, '/v1/device/self')).status, 200);
    await until('the certificate before it is retired', async () => (await as(b, device, '/v1/device/self')).status === 403);
  });
});
