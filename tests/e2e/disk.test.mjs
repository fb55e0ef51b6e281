// A full disk: writes are refused, reads go on, nothing that was acknowledged is lost, and all is well
// again when there is room.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { open, rm, stat, statfs, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, as, curl, enrolledDevice, renew, until } from './lib/hub.mjs';
import { connect } from './lib/wire.mjs';
import { enrolOn, newKeyPair, requestBody } from './lib/csr.mjs';
import { readCheckpoint, readKey, treeHash, verifyLog } from './lib/tlog.mjs';

const run = promisify(execFile);
const LATER = '2099-01-01T00:00:00Z';
const needsRoot = process.getuid() === 0 ? false : 'SKIPPED: run as root, who may mount a small file system';
if (needsRoot) console.error(needsRoot);

async function canMount() {
  if (needsRoot) return needsRoot;
  try {
    await run('unshare', ['-m', 'true']);
    return false;
  } catch {
    console.error('SKIPPED: this container lets nobody mount a file system');
    return 'SKIPPED: this container lets nobody mount a file system';
  }
}

describe('a hub on a small disk', { skip: await canMount(), timeout: 90000 }, () => {
  let hub;
  let device;
  let token;
  let key;
  let waiting; // the claim code of a device that comes when the disk is full
  const acknowledged = new Set();
  before(async () => {
    const prepare = async (made) => {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=755', 'holdfast-e2e', made.state]);
      made.mounted = true;
    };
    const limits = { 'enrolment-per-minute': '100000', 'reader-per-minute': '100000', 'device-writes-per-minute': '100000' };
    const options = { prepare };
    try {
      hub = await Hub.start(limits, options);
    } catch (error) {
      await run('sh', ['-c', 'grep -o "/[^ ]*holdfast-e2e-[^ ]*/state" /proc/mounts | xargs -r umount']);
      throw error;
    }
    await hub.factory();
    device = await enrolledDevice(hub, 'before');
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
    ({ token } = await hub.must(201, 'POST', '/v1/tokens', { name: 'auditor', scopes: ['ledger'], expires_at: LATER }));
    ({ waiting } = await hub.claims('waiting'));
    key = readKey((await hub.must(200, 'GET', '/v1/hub')).ledger.key);
  });
  after(async () => {
    if (!hub) return;
    try {
      if (!hub.exit) await hub.end();
    } finally {
      await run('umount', [hub.state]);
      await hub.discard();
    }
  });

  const filler = () => join(hub.state, 'filler');
  const room = async () => {
    const { bavail, bsize } = await statfs(hub.state);
    return bavail * bsize;
  };
  // Leaves no byte.
  const fill = async () => {
    const file = await open(filler(), 'a');
    const block = Buffer.alloc(4096, 0x78);
    try {
      for (;;) await file.write(block);
    } catch (error) {
      assert.equal(error.code, 'ENOSPC');
    } finally {
      await file.close();
    }
  };
  let written = 0;
  const write = async () => {
    const serials = Array.from({ length: 100 }, () => `row-${written++}`);
    const answer = await hub.api('POST', '/v1/manifests/batch/devices', { rows: serials.map((serial) => ({ serial, claim: { expires_at: LATER } })) });
    if (answer.status === 201) for (const serial of serials) acknowledged.add(serial);
    return { ...answer, serials };
  };
  const assertFull = (answer) => {
    assert.ok([503, 507].includes(answer.status), `${answer.status} ${JSON.stringify(answer.body ?? answer.json)}`);
    const { code, detail } = answer.json ?? answer.body;
    assert.ok(code && detail);
    if (answer.status === 507) assert.equal(code, 'disk-full');
  };
  const all = async () => {
    const found = new Set();
    for (let after = '';;) {
      const page = await hub.must(200, 'GET', `/v1/devices?limit=1000${after}`);
      for (const { id } of page.devices) found.add(id);
      if (!page.next) return found;
      after = `&after=${page.next}`;
    }
  };
  const verify = async () => {
    const wire = await connect(hub, 'operator');
    const headers = { Authorization: `Bearer ${token}` };
    const get = (path) => wire.request('GET', `/v1/ledger/${path}`, { headers });
    const size = (await hub.must(200, 'GET', '/v1/hub')).ledger.size;
    const checkpoint = await until('the newest tree is signed', async () => {
      const { status, body } = await get('checkpoint');
      const found = status === 200 ? readCheckpoint(body, key) : { size: 0 };
      return found.size >= size ? found : undefined;
    }, 5000);
    const { leaves } = await verifyLog(checkpoint, async (path) => (await get(`tile/${path}`)).body);
    wire.destroy();
    return { ...checkpoint, leaves };
  };

  let refusedSerials;
  let early;
  it('refuses writes when it is full, with a problem that says so', async (t) => {
    assert.equal((await write()).status, 201);
    early = await verify();
    await fill();
    let last;
    for (let i = 0; i < 200; i++) {
      last = await write();
      if (last.status !== 201) break;
    }
    assertFull(last);
    refusedSerials = last.serials;
    t.diagnostic(`after ${acknowledged.size} rows: ${last.status} ${last.body.code}; ${await room()} bytes left`);
    for (let i = 0; i < 5; i++) assertFull(await write());
    assertFull(await hub.api('POST', '/v1/models', { id: 'full', maker: 'acme', proof: 'manifest', key_kinds: ['P-256'], lifetime_seconds: 86400, enrolled_lifetime_seconds: 600 }));
    assertFull(await hub.api('POST', '/v1/devices/row-0/claim', { expires_at: LATER }));
    assertFull(await hub.api('POST', '/v1/devices/before/quarantine', { reason: 'full' }));
    assert.equal((await hub.api('GET', '/v1/devices/before')).body.state, 'trusted', 'what is refused has changed nothing');
    const { ledger, store } = await hub.must(200, 'GET', '/v1/hub');
    assert.ok(store.abandoned > 0, 'counted');
    assert.equal(ledger.size, (await hub.ledger()).length);
  });

  it('refuses to enrol and to renew rather than hand out what it cannot keep', async () => {
    const wire = await connect(hub, 'bootstrap');
    const body = requestBody(newKeyPair(), 'waiting');
    assertFull(await enrolOn(wire, 'waiting', waiting, body));
    wire.destroy();
    assertFull(await renew(hub, device, requestBody(newKeyPair(), 'before')));
    assert.equal((await hub.api('GET', '/v1/devices/waiting')).body.state, 'expected');
  });

  it('reads on: devices, ledger, metrics, health, and devices are known', async () => {
    const found = await all();
    for (const serial of acknowledged) assert.ok(found.has(serial), serial);
    for (const serial of refusedSerials) assert.ok(!found.has(serial), `${serial} was refused`);
    assert.equal((await as(hub, device, '/v1/device/self')).json.state, 'trusted');
    const { leaves } = await verify();
    assert.ok(treeHash(leaves.slice(0, early.size)).equals(early.root));
    assert.ok((await hub.metrics()).get('holdfast_store_abandoned_total') > 0);
    assert.equal((await curl(hub, 'bootstrap', '/.well-known/est/cacerts')).status, 200);
    assert.ok([200, 503].includes((await curl(hub, 'operator', '/v1/health')).status));
    const json = ['-X', 'POST', '-H', 'Content-Type: application/json'];
    const checkin = await as(hub, device, '/v1/device/checkin', json, '{"agent_version":"1","uptime_seconds":1}');
    assert.ok([204, 503, 507].includes(checkin.status), 'an observation may be lost');
  });

  it('has lost nothing after a crash on the full disk', async (t) => {
    await hub.end('SIGKILL');
    try {
      await hub.launch();
      t.diagnostic('it starts on the full disk');
    } catch {
      assert.match(hub.log, /disk is full|no space|ENOSPC|disk-full/i, `it says why it does not start: ${hub.log}`);
      t.diagnostic('it does not start on the full disk, and says why');
      await truncate(filler(), (await stat(filler())).size - 512 * 1024);
      await hub.launch();
    }
    const found = await all();
    for (const serial of acknowledged) assert.ok(found.has(serial), serial);
    for (const serial of refusedSerials) assert.ok(!found.has(serial), `${serial} was refused`);
    const { leaves } = await verify();
    assert.ok(treeHash(leaves.slice(0, early.size)).equals(early.root));
  });

  it('works again when there is room, without a restart', async () => {
    await fill();
    for (let i = 0; i < 200; i++) if ((await write()).status !== 201) break;
    assertFull(await write());
    await rm(filler());
    const answer = await until('it writes', async () => {
      const tried = await write();
      return tried.status === 201 ? tried : undefined;
    }, 5000);
    assert.equal(answer.body.devices.length, 100);
    await enrolledDevice(hub, 'afterwards');
    assert.equal((await hub.api('POST', '/v1/devices/before/quarantine', { reason: 'room' })).status, 200);
    await verify();
    await hub.restart();
    const found = await all();
    for (const serial of acknowledged) assert.ok(found.has(serial), serial);
    await verify();
  });
});
