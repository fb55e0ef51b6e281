// A ledger as a folder, judged offline by holdfast-verify and by Go's sumdb packages: both take the
// whole one, and both refuse each attack upon it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Hub, programs, until } from './lib/hub.mjs';
import { connect } from './lib/wire.mjs';
import { buildGo, bundle, checkpointFor, signer, tilePath, tilesOf, writeLog } from './lib/tlog.mjs';

const SIZE = 600;
const entriesOf = (size, word = 'entry') => Array.from({ length: size }, (_, i) => Buffer.from(`{"${word}":${i}}`));

describe('a ledger in a folder', { timeout: 120000 }, () => {
  const log = signer('fleet.example/ledger', 1);
  const witnesses = ['w1', 'w2', 'w3'].map((name) => signer(`witness.example/${name}`, 4));
  let root;
  let go;
  let made = 0;
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'verify-'));
    go = buildGo(root, 'verify_folder');
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  const checkpointOf = (entries, by = log, cosigners = [0, 1]) => checkpointFor(entries, by, cosigners.map((i) => witnesses[i]));
  // Writes a whole, consistent ledger; gives its folder.
  function make(entries, checkpoint = checkpointOf(entries)) {
    const folder = join(root, `ledger-${made++}`);
    writeLog(folder, entries, checkpoint);
    return folder;
  }

  function verify(...words) {
    const { status, stdout, stderr } = spawnSync(programs.verify, words, { encoding: 'utf8' });
    assert.doesNotMatch(stderr, /Sanitizer|runtime error/);
    return { status, stdout, stderr };
  }
  const judge = (folder, { saved, quorum = 2, asked = witnesses, range } = {}) => {
    const ours = verify('--json', '--key', log.vkey, ...asked.flatMap(({ vkey }) => ['--witness', vkey]),
      ...(asked.length ? ['--quorum', String(quorum)] : []), ...(saved ? ['--saved', saved] : []),
      ...(range ? ['--range', range.join('-')] : []), folder);
    const theirs = spawnSync(go, [...(range ? ['-first', range[0], '-last', range[1]] : []), log.vkey, saved ?? '-', String(asked.length ? quorum : 0), folder, ...asked.map(({ vkey }) => vkey)], { encoding: 'utf8' });
    return { ...ours, answer: JSON.parse(ours.stdout), go: theirs.status, goSays: theirs.stderr + theirs.stdout };
  };
  const refused = (folder, status, code, options) => {
    const found = judge(folder, options);
    assert.equal(found.status, status, found.stdout);
    assert.equal(found.answer.verified, false);
    assert.equal(found.answer.code, code, found.stdout);
    assert.ok(found.answer.detail.length > 20);
    assert.equal(found.go, 1, `Go takes it: ${found.goSays}`);
    return found.answer;
  };
  const save = (note) => {
    const path = join(root, `saved-${made++}`);
    writeFileSync(path, note);
    return path;
  };

  it('is taken by both where nothing is wrong, at sizes around the width of a tile', () => {
    for (const size of [1, 2, 255, 256, 257, SIZE]) {
      const found = judge(make(entriesOf(size)), { saved: save(checkpointOf(entriesOf(Math.ceil(size / 2)))) });
      assert.equal(found.status, 0, found.stdout);
      assert.equal(found.answer.verified, true);
      assert.equal(found.answer.size, size);
      assert.equal(found.answer.entries_read, size);
      assert.equal(found.answer.vouching, 2);
      assert.equal(found.goSays, `verified ${size} 2\n`);
    }
    const empty = verify('--key', log.vkey, make([]));
    assert.equal(empty.status, 0, empty.stderr);
  });

  it('is taken as a hub serves it', async () => {
    const hub = await Hub.start();
    try {
      await hub.factory();
      const { token } = await hub.must(201, 'POST', '/v1/tokens', { name: 'auditor', scopes: ['ledger'], expires_at: '2099-01-01T00:00:00Z' });
      const { ledger } = await hub.must(200, 'GET', '/v1/hub');
      await until('its checkpoint', async () => (await hub.must(200, 'GET', '/v1/hub')).ledger.checkpoint_size >= ledger.size, 5000);
      const wire = await connect(hub, 'operator');
      const get = async (path) => (await wire.request('GET', `/v1/ledger/${path}`, { headers: { Authorization: `Bearer ${token}` } })).body;
      const checkpoint = await get('checkpoint');
      const size = Number(checkpoint.toString().split('\n')[1]);
      const folder = make([], checkpoint);
      for (const tile of tilesOf(size)) {
        const path = `tile/${tilePath(tile.level, tile.index, tile.width)}`;
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        writeFileSync(join(folder, path), await get(path));
      }
      wire.destroy();
      const ours = verify('--key', ledger.key, folder);
      assert.equal(ours.status, 0, ours.stderr);
      const theirs = spawnSync(go, [ledger.key, '-', '0', folder], { encoding: 'utf8' });
      assert.equal(theirs.stdout, `verified ${size} 0\n`, theirs.stderr);
    } finally {
      await hub.stop();
    }
  });

  it('tells a person what was looked at, and what was not', () => {
    const folder = make(entriesOf(SIZE));
    const keys = witnesses.flatMap(({ vkey }, i) => ['--witness', i ? vkey : save(`${vkey}\n`)]);
    const { status, stdout } = verify('--key', save(`${log.vkey}\n`), ...keys, '--quorum', '2', folder);
    assert.equal(status, 0);
    assert.match(stdout, /^entries {9}600$/m);
    assert.match(stdout, /^witness {9}witness.example\/w1: vouches, 2025-11-28T01:00:00Z$/m);
    assert.match(stdout, /^witness {9}witness.example\/w3: has not cosigned$/m);
    assert.match(stdout, /^quorum {10}2 vouch, 2 needed$/m);
    assert.match(stdout, /^history {9}not compared/m);
  });

  it('must be vouched for by as many witnesses as are asked', () => {
    const folder = make(entriesOf(3));
    assert.equal(judge(folder, { quorum: 1 }).status, 0);
    refused(folder, 5, 'witnesses', { quorum: 3 });
    const all = verify('--key', log.vkey, ...witnesses.flatMap(({ vkey }) => ['--witness', vkey]), folder);
    assert.equal(all.status, 5, 'without --quorum all are needed');
    assert.match(all.stderr, /2 of 3 witnesses vouch for this checkpoint, 3 are needed/);
    // a cosignature of another checkpoint does not count
    const [text] = checkpointOf(entriesOf(3)).split('\n\n');
    const stranger = witnesses[1].line('fleet.example/ledger\n2\nAAAA\n');
    refused(make(entriesOf(3), `${text}\n\n${log.line(`${text}\n`)}${witnesses[0].line(`${text}\n`)}${stranger}`), 5, 'witnesses');
  });

  it('is refused where the checkpoint is not signed by the key, or was changed', () => {
    refused(make(entriesOf(9), checkpointOf(entriesOf(9), signer('fleet.example/ledger', 1))), 5, 'signature');
    refused(make(entriesOf(9), checkpointOf(entriesOf(9)).replace('\n9\n', '\n8\n')), 5, 'signature');
    refused(make(entriesOf(9), 'no checkpoint\n'), 5, 'checkpoint');
  });

  // Whoever holds the disk, but no key: first the entry alone, then all tiles with it.
  for (const [what, code, change] of [
    ['edited', 'ledger-root', (entries) => entries.with(300, Buffer.from('{"entry":-1}'))],
    ['deleted', 'tile-unreadable', (entries) => entries.toSpliced(300, 1)],
    ['left out at the end', 'tile-unreadable', (entries) => entries.slice(0, 300)],
    ['reordered', 'ledger-root', (entries) => entries.with(300, entries[301]).with(301, entries[300])],
  ]) {
    it(`is refused where an entry was ${what}`, () => {
      const whole = entriesOf(SIZE);
      const changed = change(whole);
      const folder = make(whole);
      writeFileSync(join(folder, 'tile/entries/001'), bundle(changed.slice(256, 512)));
      const answer = refused(folder, 5, 'ledger-tile');
      assert.equal(answer.first, 300);
      const all = make(changed, checkpointOf(whole));
      refused(all, 5, code);
      // and in a part of it
      refused(folder, 5, 'ledger-tile', { range: [290, 310] });
      refused(all, 5, code, { range: [290, 310] });
      const elsewhere = judge(folder, { range: [0, 255] });
      assert.equal(elsewhere.status, 0, `what was left alone is still proven: ${elsewhere.stdout}`);
      assert.equal(elsewhere.go, 0, elsewhere.goSays);
    });
  }

  it('is refused where a tile was changed, or its end cut off', () => {
    const whole = make(entriesOf(SIZE));
    for (const { level, index, width } of tilesOf(SIZE)) {
      const folder = join(root, `copy-${made++}`);
      cpSync(whole, folder, { recursive: true });
      const path = join(folder, 'tile', tilePath(level, index, width));
      const bytes = readFileSync(path);
      bytes[bytes.length - 1] ^= 1;
      writeFileSync(path, bytes);
      refused(folder, 5, 'ledger-tile');
      writeFileSync(path, bytes.subarray(0, -1));
      refused(folder, 5, 'ledger-tile');
      rmSync(path);
      refused(folder, 5, 'tile-unreadable');
    }
  });

  // Whoever holds the log's key, too.
  it('is refused where the log was rolled back, forked or rewritten, though it is signed anew', () => {
    const saved = save(checkpointOf(entriesOf(SIZE)));
    refused(make(entriesOf(SIZE - 1)), 9, 'ledger-shrunk', { saved });
    refused(make(entriesOf(SIZE, 'other')), 9, 'ledger-forked', { saved });
    const rewritten = make(entriesOf(SIZE + 1).with(5, Buffer.from('{}')));
    refused(rewritten, 9, 'ledger-rewritten', { saved });
    refused(rewritten, 9, 'ledger-rewritten', { saved, range: [300, 310] });
    // without anything saved, the witnesses are what is left: they did not see the fork
    const fork = entriesOf(SIZE, 'other');
    refused(make(fork, checkpointOf(fork, log, [2])), 5, 'witnesses');
  });

  it('has clear errors for command lines and files', () => {
    const folder = make(entriesOf(2));
    for (const [words, status, says] of [
      [[folder], 2, /--key is missing/],
      [['--key', log.vkey], 2, /name one folder/],
      [['--key', log.vkey, folder, folder], 2, /name one folder/],
      [['--key', 'nonsense', folder], 2, /neither a verifier key/],
      [['--key', folder, folder], 2, /neither a verifier key/],
      [['--key', witnesses[0].vkey, folder], 2, /another type than a ledger's/],
      [['--key', log.vkey, '--witness', log.vkey, folder], 2, /another type than a witness's/],
      [['--key', log.vkey, '--witness', witnesses[0].vkey, '--witness', witnesses[0].vkey, folder], 2, /given twice/],
      [['--key', log.vkey, '--quorum', '1', folder], 2, /more witnesses than/],
      [['--key', log.vkey, '--quorum', '0', folder], 2, /from 1 to 16/],
      [['--key', log.vkey, '--quorum', '-1', folder], 2, /from 1 to 16/],
      [['--key', log.vkey, '--quorum', '17', folder], 2, /from 1 to 16/],
      [['--key', log.vkey, '--nothing', folder], 2, /no option/],
      [['--key', log.vkey, '--range', '5', folder], 2, /two entries, FIRST-LAST/],
      [['--key', log.vkey, '--range', '5-4', folder], 2, /two entries, FIRST-LAST/],
      [['--key', log.vkey, '--range', '-1-4', folder], 2, /two entries, FIRST-LAST/],
      [['--key', log.vkey, '--range', '1-2', folder], 5, /is of 2 entries, the first is number 0/],
      [[...Array(17).fill(['--key', log.vkey]).flat(), folder], 2, /too many keys/],
      [['--key', log.vkey, join(folder, 'missing')], 6, /No such file/],
      [['--key', log.vkey, join(folder, 'tile')], 6, /no such file/],
      [['--key', log.vkey, '--saved', folder, folder], 6, /not a regular file/],
      [['--key', log.vkey, '--checkpoint', save('x'.repeat(16385)), folder], 6, /too long/],
      [['--key', log.vkey, '--saved', save('\u001b[31m'), folder], 5, /not a signed checkpoint/],
    ]) {
      const found = verify(...words);
      assert.equal(found.status, status, `${words.join(' ')}: ${found.stderr}`);
      assert.match(found.stderr, says);
    }
    assert.match(verify('--help').stdout, /^usage: holdfast-verify/);
  });
});
