// A person's name: sealed from the first moment, readable to operators, and gone when it is to go.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readFile, readdir, rm, stat } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'node:test';
import { Hub, as, enrolledDevice, openssl, programs } from './lib/hub.mjs';
import { holdfast } from './lib/cli.mjs';

const run = promisify(execFile);
const env = { PATH: [dirname(programs.hub), process.env.PATH].join(delimiter) };
const ADA = 'Ada.Lovelace-1815';
const BOB = 'Bob.Noyce-1927';
const SAID = 'sent back by her son';

// Every file of a folder that holds these bytes.
async function holders(folder, bytes) {
  const found = [];
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name);
    if ((await stat(path)).isFile() && (await readFile(path)).includes(bytes)) found.push(name);
  }
  return found;
}

describe('a person', () => {
  let hub, key, certificate, device;
  const at = (name) => join(hub.folder, name);
  const config = () => ['--config', at('hub.conf')];
  const subject = async (...words) => {
    const { code, stdout, stderr } = await hub.cli('--json', 'subject', ...words);
    return { code, body: code === 0 ? JSON.parse(stdout) : JSON.parse(stderr) };
  };
  const backup = async (name) => {
    const words = ['backup', 'create', '--recipient', certificate, '--output', at(name), ...config()];
    const { code, stderr } = await holdfast(words, { env });
    assert.equal(code, 0, stderr);
    return openssl(['cms', '-decrypt', '-inform', 'DER', '-binary', '-in', at(name), '-inkey', key]);
  };
  const ledgerHolds = async () => {
    const { code, stderr } = await hub.cli('ledger', 'verify', '--local', '--key', join(hub.state, 'ledger.vkey'));
    assert.equal(code, 0, stderr);
  };

  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    [key, certificate] = [at('backup.key'), at('backup.pem')];
    await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                          '-keyout', key, '-out', certificate, '-subj', '/CN=owner']);
    for (const [id, owner] of [['ada-1', ADA], ['ada-2', ADA], ['bob-1', BOB]])
      await hub.must(201, 'POST', '/v1/manifests', { id, model: 'thermo', owner });
    await hub.must(201, 'POST', '/v1/manifests/ada-1/devices',
      { rows: [{ serial: 'lamp', claim: { expires_at: '2099-01-01T00:00:00Z' } }] });
    device = await enrolledDevice(hub, 'own');
    await hub.must(200, 'POST', '/v1/devices/lamp/revoke', { reason: SAID });
  });
  after(() => hub.discard());

  it('is a number in rows and entries, and a name to operators', async () => {
    const lamp = await hub.must(200, 'GET', '/v1/devices/lamp');
    assert.equal(lamp.owner, ADA);
    assert.match(lamp.subject, /^~\d+$/);
    const listed = await hub.must(200, 'GET', `/v1/devices?owner=${ADA}`);
    assert.deepEqual(listed.devices.map((d) => d.id), ['lamp']);
    assert.deepEqual((await hub.must(200, 'GET', '/v1/devices?owner=nobody')).devices, []);
    const { body } = await subject('show', ADA);
    assert.equal(body.subject, lamp.subject);
    assert.equal(body.state, 'known');
    const all = await subject('list', '--all');
    assert.deepEqual(all.body.subjects.map((s) => s.name).sort(), [ADA, BOB, 'acme'].sort());
    const { entries } = await hub.must(200, 'GET', '/v1/ledger/entries?limit=100');
    assert.ok(entries.some((e) => JSON.stringify(e).includes('subject.create')));
    assert.ok(!JSON.stringify(entries).includes(ADA));
    const revoked = entries.find((e) => e.entry.act === 'device.revoke');
    assert.match(revoked.entry.data.reason, new RegExp(`^${lamp.subject}:[0-9a-f]+$`));
    assert.deepEqual([revoked.reason, lamp.reason], [SAID, SAID]);
    assert.ok((await hub.cli('ledger', 'tail', '-n', '100')).stdout.includes(SAID));
  });

  it('stands in no file of the state, and in no backup', async () => {
    await hub.restart();
    for (const text of [ADA, SAID]) assert.deepEqual(await holders(hub.state, text), []);
    const plain = await backup('before.cms');
    assert.ok(plain.includes('lamp') && !plain.includes(ADA) && !plain.includes(SAID));
    const keys = await readFile(join(hub.state, 'subjects.keys'));
    for (let i = 55; i + 37 <= keys.length - 32; i += 37)
      assert.ok(!plain.includes(keys.subarray(i + 5, i + 37)), 'a key is in the backup');
    for (const text of [ADA, SAID]) assert.ok(!(hub.said + hub.log).includes(text));
  });

  it('is forgotten, and nobody else is', async () => {
    const without = await hub.cli('subject', 'erase', ADA);
    assert.notEqual(without.code, 0, 'it did not ask');
    const old = await readFile(join(hub.state, 'subjects.keys'));
    const { code, body } = await subject('erase', ADA, '--yes');
    assert.equal(code, 0);
    assert.equal(body.state, 'erased');
    assert.equal(body.name, undefined);
    const lamp = await hub.must(200, 'GET', '/v1/devices/lamp');
    assert.deepEqual([lamp.owner, lamp.reason], [undefined, undefined]);
    assert.equal(lamp.subject, body.subject);
    const { entries } = await hub.must(200, 'GET', '/v1/ledger/entries?limit=100');
    assert.equal(entries.find((e) => e.entry.act === 'device.revoke').reason, undefined);
    assert.match((await hub.cli('device', 'show', 'lamp')).stdout, new RegExp(`owner +\\(${body.subject}\\)`));
    assert.equal((await subject('show', BOB)).body.name, BOB);
    assert.equal((await subject('show', ADA)).body.code, 'subject-not-found');
    assert.equal((await subject('erase', body.subject, '--yes')).body.code, 'subject-erased');
    assert.equal((await subject('erase', '~999', '--yes')).body.code, 'subject-not-found');
    assert.equal((await subject('erase', 'x'.repeat(65), '--yes')).code, 2);
    // the root key that led to this one is nowhere any more
    const root = old.subarray(60, 92);
    assert.deepEqual(await holders(hub.state, root), []);
    await ledgerHolds();
  });

  it('stays forgotten after a restart, and when an older store comes back', async () => {
    await hub.restart();
    assert.equal((await hub.must(200, 'GET', '/v1/devices/lamp')).owner, undefined);
    await hub.end();
    const words = ['backup', 'restore', at('before.cms'), '--key', key, ...config()];
    for (const end of ['', '-wal', '-shm', '-lock']) await rm(join(hub.state, `hub.db${end}`), { force: true });
    const restored = await holdfast(words, { env });
    assert.equal(restored.code, 0, restored.stderr);
    await hub.launch('--accept-roll-back');
    const lamp = await hub.must(200, 'GET', '/v1/devices/lamp');
    assert.equal(lamp.owner, undefined);
    assert.equal((await subject('show', lamp.subject)).body.state, 'unreadable');
    assert.equal((await subject('show', BOB)).body.name, BOB);
    assert.equal((await subject('erase', lamp.subject, '--yes')).body.state, 'erased');
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
    await hub.end();
  });

  it('is not lost by mistake with the file of keys', async () => {
    const keys = join(hub.state, 'subjects.keys');
    await mkdir(at('kept'));
    await copyFile(keys, at('kept/subjects.keys'));
    await rm(keys);
    await assert.rejects(hub.launch('--accept-roll-back'), /subjects\.keys is gone: bring it back/);
    await copyFile(at('kept/subjects.keys'), keys);
    await hub.launch('--accept-roll-back');
    assert.equal((await subject('show', BOB)).body.name, BOB);
    await hub.end();
    await rm(keys);
    await hub.launch('--accept-roll-back', '--forget-subjects');
    assert.equal((await hub.must(200, 'GET', '/v1/manifests/bob-1')).owner, undefined);
    await hub.must(201, 'POST', '/v1/manifests', { id: 'bob-2', model: 'thermo', owner: BOB });
    assert.equal((await hub.must(200, 'GET', '/v1/manifests/bob-2')).owner, BOB);
  });
});
