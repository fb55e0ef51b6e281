// The store in one encrypted file, and back: by the command, against a real hub, opened by openssl.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, readFile, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'node:test';
import { Hub, as, enrolledDevice, openssl, programs, until } from './lib/hub.mjs';
import { holdfast } from './lib/cli.mjs';

const run = promisify(execFile);
const env = { PATH: [dirname(programs.hub), process.env.PATH].join(delimiter) };

async function recipient(folder, name, curve = 'P-256') {
  const key = join(folder, `${name}.key`);
  const certificate = join(folder, `${name}.pem`);
  await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', `ec_paramgen_curve:${curve}`, '-nodes',
                        '-keyout', key, '-out', certificate, '-subj', `/CN=${name}`, '-days', '3650']);
  return { key, certificate };
}

describe('backup', () => {
  let hub, owner, other, file, created, device;
  const at = (name) => join(hub.folder, name);
  const config = () => ['--config', at('hub.conf')];
  const backup = (...words) => holdfast(['backup', ...words, '--json'], { env });
  const verify = (path, key = owner.key) => backup('verify', path, '--key', key);
  const restore = (path, key = owner.key) => backup('restore', path, '--key', key, ...config());
  const create = (path, certificate = owner.certificate) =>
    backup('create', '--recipient', certificate, '--output', path, ...config());

  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    owner = await recipient(hub.folder, 'owner');
    other = await recipient(hub.folder, 'other', 'P-384');
    device = await enrolledDevice(hub, 'b-1');
    await hub.claims(...Array.from({ length: 300 }, (_, i) => `row-${i}`));
    for (let i = 0; i < 300; i++) // enough entries for nodes above the leaves
      await hub.must(200, 'POST', `/v1/devices/row-${i}/revoke`, { reason: 'a test' });
    file = at('backup.cms');
    created = await create(file);
  });
  after(() => hub.discard());

  const removeStore = () =>
    Promise.all(['', '-wal', '-shm', '-lock'].map((end) => rm(join(hub.state, `hub.db${end}`), { force: true })));
  const refused = ({ code, stderr }, exit, word, words) => {
    assert.equal(code, exit, stderr);
    const problem = JSON.parse(stderr);
    assert.match(problem.type ?? problem.code ?? JSON.stringify(problem), new RegExp(word));
    assert.match(problem.detail, words);
  };

  it('is made while the hub is at work, and tells what is in it', async () => {
    assert.equal(created.code, 0, created.stderr);
    const told = JSON.parse(created.stdout);
    assert.equal(told.fleet, 'fleet.example');
    assert.equal(told.tables.device, 301);
    assert.equal(told.tables.certificate, 1);
    assert.ok(told.tables.ledger_node >= 1);
    assert.equal(told.tables.ledger_entry, told.ledger_size);
    assert.equal(told.rows, Object.values(told.tables).reduce((a, b) => a + b));
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual((await readdir(hub.folder)).filter((name) => name.endsWith('.part')), []);
    const again = await create(file);
    refused(again, 1, 'exists', /another name/);
  });

  it('verifies, and says the same', async () => {
    const { code, stdout, stderr } = await verify(file);
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), JSON.parse(created.stdout));
  });

  it('is opened by openssl, and holds nothing readable before that', async () => {
    const plain = await openssl(['cms', '-decrypt', '-inform', 'DER', '-binary', '-in', file, '-inkey', owner.key]);
    assert.ok(plain.includes('holdfast-store-1'));
    assert.ok(plain.includes('row-299'));
    const bytes = await readFile(file);
    assert.ok(!bytes.includes('row-299') && !bytes.includes('fleet.example'));
    const digest = JSON.parse(created.stdout).digest;
    assert.equal(plain.subarray(plain.length - 32).toString('hex'), digest);
    assert.equal(chainOf(plain), digest);
  });

  it('is refused when it was cut short, wherever', async () => {
    const size = (await stat(file)).size;
    for (const left of [0, 1, 60, 250, 300, 5000, size - 5000, size - 20, size - 6, size - 1]) {
      const cut = at('cut.cms');
      await copyFile(file, cut);
      await truncate(cut, left);
      refused(await verify(cut), 5, 'unverified', /cut short/);
    }
  });

  it('is refused when a bit of it was altered', async () => {
    const bytes = await readFile(file);
    for (const [where, exits] of [[3, [1, 5]], [80, [1, 5]], [200, [1, 5]], [260, [1, 5]], [2000, [5]], [bytes.length >> 1, [5]],
                                  [bytes.length - 10, [5]]]) {
      const copy = Buffer.from(bytes);
      copy[where] ^= 1;
      await writeFile(at('altered.cms'), copy);
      const { code, stdout } = await verify(at('altered.cms'));
      assert.ok(exits.includes(code), `byte ${where}: exit ${code}`);
      assert.equal(stdout, '');
    }
    const longer = Buffer.concat([bytes, Buffer.from([0])]);
    await writeFile(at('altered.cms'), longer);
    refused(await verify(at('altered.cms')), 5, 'unverified', /altered/);
  });

  it('is refused with another key, and with what is no key', async () => {
    refused(await verify(file, other.key), 1, 'refused', /not encrypted to the key/);
    refused(await verify(file, owner.certificate), 5, 'unverified', /not a private key/);
    refused(await verify(file, at('none.key')), 4, 'not-found', /none\.key/);
    refused(await verify(at('none.cms')), 4, 'not-found', /none\.cms/);
  });

  it('is not made for what could not open it', async () => {
    await run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', at('rsa.key'), '-out', at('rsa.pem'),
                          '-subj', '/CN=rsa', '-days', '1']);
    refused(await create(at('none.cms'), at('rsa.pem')), 1, 'refused', /P-256 or P-384/);
    refused(await create(at('none.cms'), owner.key), 5, 'unverified', /no certificate/);
    refused(await create(at('none.cms'), at('nobody.pem')), 4, 'not-found', /nobody\.pem/);
    refused(await create(at('no/folder.cms')), 6, 'file', /no\/folder/);
    await assert.rejects(stat(at('none.cms')));
    await assert.rejects(stat(at('none.cms.part')));
  });

  it('is not restored beside a hub, nor over anything', async () => {
    refused(await restore(file), 3, 'store', /in use/);
    await hub.end();
    refused(await restore(file), 1, 'exists', /not empty/);
  });

  it('is not restored for another fleet', async () => {
    const text = await readFile(at('hub.conf'), 'utf8');
    await writeFile(at('hub.conf'), text.replace('fleet.example', 'other.example'));
    refused(await restore(file), 1, 'refused', /other\.example/);
    await writeFile(at('hub.conf'), text);
  });

  it('is restored into an empty store, by a key on either curve, and the hub goes on', async () => {
    const p384 = at('p384.cms');
    assert.equal((await create(p384, other.certificate)).code, 0); // no hub is at work now
    await removeStore();
    const { code, stdout, stderr } = await restore(p384, other.key);
    assert.equal(JSON.parse(stdout).tables.device, 301);
    assert.equal(code, 0, stderr);
    await hub.launch();
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
    assert.equal((await hub.must(200, 'GET', '/v1/devices/row-7')).state, 'revoked');
    assert.equal((await hub.cli('ledger', 'verify', '--local', '--key', join(hub.state, 'ledger.vkey'))).code, 0);
    await hub.must(200, 'POST', '/v1/devices/b-1/quarantine', { reason: 'goes on' });
  });

  it('that is older is noticed as a roll-back', async () => {
    await until('a checkpoint is signed', async () => {
      const { ledger } = await hub.must(200, 'GET', '/v1/hub');
      return ledger.checkpoint_size === ledger.size;
    });
    await hub.end();
    await removeStore();
    assert.equal((await restore(file)).code, 0);
    await assert.rejects(hub.launch(), /ledger\.roll_back/);
    await hub.launch('--accept-roll-back');
    await hub.end();
  });
});

// The digest of a copy, by its own description.
function chainOf(copy) {
  const chain = (digest, bytes) => createHash('sha256').update(digest).update(bytes).digest();
  let whole = Buffer.alloc(32);
  let table = Buffer.alloc(32);
  for (let i = 0; i < copy.length;) {
    const letter = String.fromCharCode(copy[i]);
    const fields = copy.subarray(i + 5, i + 5 + copy.readUInt32BE(i + 1));
    if (letter === 'H' || letter === 'E') whole = chain(whole, fields);
    if (letter === 'T') table = Buffer.alloc(32);
    if (letter === 'R') table = chain(table, fields);
    if (letter === 'E') assert.equal(fields.subarray(8).toString('hex'), table.toString('hex'));
    i += 5 + fields.length;
  }
  return whole.toString('hex');
}
