// Old entries archived: copied and verified first, then let go by the hub, whose proofs hold as before;
// and what a backup, a restart and an auditor make of it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { holdfast } from './lib/cli.mjs';
import { Hub, programs, until } from './lib/hub.mjs';
import { growTo } from './lib/ledger.mjs';
import { buildGo } from './lib/tlog.mjs';

describe('old entries archived', { timeout: 240000 }, () => {
  let hub, root, go, key, saved;
  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'archive-'));
    go = buildGo(root, 'verify_folder');
    hub = await Hub.start({ 'reader-per-minute': '100000' });
    await hub.factory();
    await hub.claims('grower');
    key = join(root, 'ledger.vkey');
    writeFileSync(key, `${(await hub.must(200, 'GET', '/v1/hub')).ledger.key}\n`);
    await grow(1000);
    saved = join(root, 'saved');
    assert.equal((await hub.cli('ledger', 'checkpoint', '-o', saved)).code, 0);
  });
  after(async () => {
    await hub?.stop();
    rmSync(root, { recursive: true, force: true });
  });

  async function grow(size) {
    await growTo(hub, size);
    await until('its checkpoint', async () => (await hub.must(200, 'GET', '/v1/hub')).ledger.checkpoint_size === size, 10000);
  }
  const folder = (name) => join(root, name);
  const archive = (name, when, ...words) => hub.cli('--json', '--yes', 'ledger', 'archive', '--before', String(when), '--key', key, ...words, folder(name));
  const size = async () => (await hub.must(200, 'GET', '/v1/hub')).ledger.size;
  function judge(name, range) {
    const ours = spawnSync(programs.verify, ['--json', '--key', key, ...(range ? ['--range', range.join('-')] : ['--saved', saved]), folder(name)], { encoding: 'utf8' });
    const theirs = spawnSync(go, [...(range ? ['-first', range[0], '-last', range[1]] : []), readFileSync(key, 'utf8').trim(), range ? '-' : saved, '0', folder(name)], { encoding: 'utf8' });
    assert.equal(theirs.status === 0, ours.status === 0, `${ours.stdout} but ${theirs.stdout}${theirs.stderr}`);
    return { status: ours.status, ...JSON.parse(ours.stdout) };
  }

  it('are not let go without being asked, nor the newest, nor in parts of a bundle', async () => {
    const unasked = await hub.cli('ledger', 'archive', '--before', '600', '--key', key, folder('unasked'));
    assert.equal(unasked.code, 2, unasked.stderr);
    for (const [body, status, code] of [
      [{ before: 100, where: 'x' }, 400, 'field-value'],
      [{ before: 0, where: 'x' }, 400, 'field-value'],
      [{ before: 768, where: 'x' }, 409, 'archive-conflict'],
      [{ before: 2560000, where: 'x' }, 409, 'archive-conflict'],
      [{ before: 256, where: '\u001b[0m' }, 400, 'field-value'],
    ]) {
      const answer = await hub.must(status, 'POST', '/v1/ledger/archive', body);
      assert.equal(answer.code, code, JSON.stringify(body));
    }
    const few = await archive('few', 255);
    assert.equal(few.code, 4);
    assert.match(few.stderr, /whole bundles of 256/);
    const old = await archive('none', '2020-01-01');
    assert.equal(old.code, 4, old.stderr);
    const much = await archive('much', 900);
    assert.equal(much.code, 1, much.stderr);
    assert.match(much.stderr, /512 is the most now/);
    assert.equal(await size(), 1000, 'nothing was done');
    assert.equal((await hub.must(200, 'GET', '/v1/ledger/entries?limit=1')).entries[0].number, 0);
  });

  it('are in a folder that both verifiers take, and the hub says where', async () => {
    const { code, stdout, stderr } = await archive('first', 300, '--where', 'shelf 7, first');
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), { folder: folder('first'), first: 0, last: 255, where: 'shelf 7, first' });
    assert.equal(judge('first', [0, 255]).entries_read, 256);
    for (const path of ['/v1/ledger/entries?first=0', '/v1/ledger/entries?first=255', '/v1/ledger/entries?first=100&order=desc', '/v1/ledger/tile/entries/000']) {
      const gone = await hub.must(410, 'GET', path);
      assert.equal(gone.code, 'archived');
      assert.match(gone.detail, /below number 256 were archived, and are kept in shelf 7, first/);
    }
    const newest = (await hub.must(200, 'GET', '/v1/ledger/entries?limit=1&order=desc')).entries[0].entry;
    assert.equal(newest.act, 'ledger.archive');
    assert.deepEqual(newest.data, { before: 256, where: 'shelf 7, first' });
    const across = await hub.must(200, 'GET', '/v1/ledger/entries?first=300&order=desc&limit=1000');
    assert.deepEqual(across.entries.map(({ number }) => number), Array.from({ length: 45 }, (_, i) => 300 - i), 'a page ends where the archive begins');
    assert.equal((await hub.must(200, 'GET', '/v1/ledger/entries?first=256&limit=1')).entries[0].number, 256);
    const search = await hub.cli('ledger', 'search', '--act', 'model.create');
    assert.equal(search.code, 1, 'what was not looked at is not said to be empty');
    assert.match(search.stderr, /were archived/);
  });

  it('cannot be archived anew, or less of them', async () => {
    const again = await archive('again', 256);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /below number 256 are archived already/);
    await grow(1300);
    assert.equal((await archive('second', 512)).code, 0);
    assert.equal((await hub.must(409, 'POST', '/v1/ledger/archive', { before: 256, where: 'x' })).code, 'archive-conflict');
    assert.equal(judge('second', [256, 511]).status, 0, 'a period of its own');
    assert.equal(judge('second', [255, 256]).code, 'tile-unreadable');
  });

  it('go on in the same folder, by date, too', async () => {
    cpSync(folder('first'), folder('all'), { recursive: true });
    cpSync(join(folder('second'), 'tile'), join(folder('all'), 'tile'), { recursive: true });
    await grow(1400);
    const third = await archive('all', 800);
    assert.equal(third.code, 0, third.stderr);
    assert.equal(JSON.parse(third.stdout).first, 0);
    assert.equal(judge('all', [0, 767]).entries_read, 768);
    const now = await archive('all', '0s');
    assert.equal(now.code, 0, now.stderr);
    assert.equal(JSON.parse(now.stdout).last, 1023, 'the newest stay');
    assert.equal(judge('all', [0, 1023]).status, 0);
  });

  it('verify together with what the hub still has', async () => {
    cpSync(folder('all'), folder('whole'), { recursive: true });
    const { code, stderr } = await hub.cli('ledger', 'export', '--local', '--key', key, folder('whole'));
    assert.equal(code, 0, stderr);
    assert.equal(judge('whole').entries_read, await size());
    // alone, the hub's part is proven, and the rest is said to be elsewhere
    const alone = await hub.cli('ledger', 'verify', '--local', '--key', key);
    assert.equal(alone.code, 1);
    assert.match(alone.stderr, /were archived, and are kept in/);
    assert.equal((await hub.cli('ledger', 'export', '--local', '--key', key, '--from', '1024', folder('rest'))).code, 0);
    assert.equal(judge('rest', [1024, (await size()) - 1]).status, 0);
    const proof = await hub.cli('ledger', 'prove', '700', '--folder', folder('all'), '--key', key);
    assert.equal(proof.code, 0, proof.stderr);
  });

  it('come back from a backup as what they are', async () => {
    const at = (name) => join(hub.folder, name);
    const env = { PATH: [dirname(programs.hub), process.env.PATH].join(delimiter) };
    const backup = async (...words) => {
      const { code, stderr } = await holdfast(['backup', ...words], { env });
      assert.equal(code, 0, stderr);
    };
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at('owner.key'),
                             '-out', at('owner.pem'), '-subj', '/CN=owner', '-days', '3650'], { stdio: 'ignore' });
    await hub.end(); // which writes what was refused meanwhile
    await backup('create', '--recipient', at('owner.pem'), '--output', at('backup.cms'), '--config', at('hub.conf'));
    await backup('verify', at('backup.cms'), '--key', at('owner.key'));
    for (const end of ['', '-wal', '-shm', '-lock']) rmSync(join(hub.state, `hub.db${end}`), { force: true });
    await backup('restore', at('backup.cms'), '--key', at('owner.key'), '--config', at('hub.conf'));
    await hub.launch();
    assert.equal((await hub.must(410, 'GET', '/v1/ledger/entries?first=3')).code, 'archived');
    assert.equal((await hub.must(200, 'GET', '/v1/ledger/entries?first=1024&limit=1')).entries[0].number, 1024);
  });

  it('hide nothing: an entry whose data somebody else took away is not said to be archived', async () => {
    const backup = folder('state');
    await grow(1700);
    await hub.end();
    cpSync(hub.state, backup, { recursive: true });
    execFileSync('sqlite3', ['-bail', join(hub.state, 'hub.db'), "UPDATE ledger_entry SET data = x'' WHERE number = 1100"]);
    await hub.launch();
    assert.equal((await hub.api('GET', '/v1/ledger/entries?first=1100&limit=1')).status, 500);
    assert.equal((await hub.api('GET', '/v1/ledger/tile/entries/004')).status, 500);
    const found = await hub.cli('ledger', 'export', '--local', '--key', key, '--from', '1024', folder('robbed'));
    assert.notEqual(found.code, 0);
    await hub.end();
    rmSync(hub.state, { recursive: true });
    cpSync(backup, hub.state, { recursive: true });
    await hub.launch();
    assert.equal((await hub.must(200, 'GET', '/v1/ledger/entries?first=1100&limit=1')).entries[0].number, 1100);
  });
});
