// `holdfast ledger export`: a hub's ledger, or a part of it, as a folder that holdfast-verify and Go's
// sumdb packages judge; interrupted, damaged, continued, and contradicted.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { holdfast } from './lib/cli.mjs';
import { Hub, programs, until } from './lib/hub.mjs';
import { growTo, serve } from './lib/ledger.mjs';
import { buildGo, checkpointFor, signer, tilePath, tilesOf, writeLog } from './lib/tlog.mjs';

describe('a ledger exported', { timeout: 240000 }, () => {
  let hub, root, go, key;
  let made = 0;
  const fresh = () => join(root, `copy-${made++}`);
  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'export-'));
    go = buildGo(root, 'verify_folder');
    hub = await Hub.start({ 'reader-per-minute': '100000' });
    await hub.factory();
    await hub.claims('grower');
    key = join(root, 'ledger.vkey');
    writeFileSync(key, `${(await hub.must(200, 'GET', '/v1/hub')).ledger.key}\n`);
    const { token } = await hub.must(201, 'POST', '/v1/tokens', { name: 'auditor', scopes: ['ledger'], expires_at: '2099-01-01T00:00:00Z' });
    writeFileSync(join(root, 'token'), token);
    await grow(600);
  });
  after(async () => {
    await hub?.stop();
    rmSync(root, { recursive: true, force: true });
  });

  async function grow(size) {
    await growTo(hub, size);
    await until('its checkpoint', async () => (await hub.must(200, 'GET', '/v1/hub')).ledger.checkpoint_size === size, 5000);
  }
  const local = () => ['--local', '--key', key];
  const remote = () => ['--url', `https://localhost:${hub.ports.operator}`, '--roots', hub.roots, '--token-file', join(root, 'token'), '--key', key];
  async function exported(folder, ...words) {
    const { code, stdout, stderr } = await hub.cli('--json', 'ledger', 'export', ...words, folder);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  }
  const refused = async (status, says, folder, ...words) => {
    const { code, stderr } = await hub.cli('ledger', 'export', ...words, folder);
    assert.equal(code, status, stderr);
    assert.match(stderr, says);
  };
  function files(folder, under = '') {
    return readdirSync(join(folder, under), { withFileTypes: true }).flatMap((e) =>
      e.isDirectory() ? files(folder, join(under, e.name)) : [join(under, e.name)]).sort();
  }
  const wholeOf = (size) => ['checkpoint', 'ledger.vkey', ...tilesOf(size).map(({ level, index, width }) => `tile/${tilePath(level, index, width)}`)].sort();
  // Both verifiers, on the folder as it is.
  function judge(folder, { range, saved } = {}) {
    const ours = spawnSync(programs.verify, ['--json', '--key', key, ...(range ? ['--range', range.join('-')] : []), ...(saved ? ['--saved', saved] : []), folder], { encoding: 'utf8' });
    assert.doesNotMatch(ours.stderr, /Sanitizer|runtime error/);
    const theirs = spawnSync(go, [...(range ? ['-first', range[0], '-last', range[1]] : []), readFileSync(key, 'utf8').trim(), saved ?? '-', '0', folder], { encoding: 'utf8' });
    assert.equal(theirs.status === 0, ours.status === 0, `${ours.stdout} but ${theirs.stdout}${theirs.stderr}`);
    return { status: ours.status, ...JSON.parse(ours.stdout) };
  }

  it('is whole, over HTTPS and over the socket, and both verifiers take it', async () => {
    for (const from of [remote(), local()]) {
      const folder = fresh();
      const answer = await exported(folder, ...from);
      assert.deepEqual(files(folder), wholeOf(600));
      assert.equal(answer.size, 600);
      assert.equal(answer.entries, 600);
      assert.equal(answer.kept, 0);
      assert.equal(answer.fetched, tilesOf(600).length);
      assert.equal(statSync(folder).mode & 0o777, 0o700, 'it is not for everybody');
      assert.equal(readFileSync(join(folder, 'ledger.vkey'), 'utf8'), readFileSync(key, 'utf8'));
      assert.equal(judge(folder).entries_read, 600);
    }
  });

  it('tells a person what it did, and what to do next', async () => {
    const folder = fresh();
    const { code, stdout, stderr } = await hub.cli('ledger', 'export', ...local(), folder);
    assert.equal(code, 0);
    assert.match(stdout, /^entries +all$/m);
    assert.match(stderr, new RegExp(`holdfast-verify --key KEY ${folder}`));
  });

  it('goes on where it was interrupted, and replaces what that left damaged', async () => {
    const whole = fresh();
    await exported(whole, ...local());
    // As after a power cut: no checkpoint yet, files missing, empty, half written and with a bit turned over.
    for (const damage of ['missing', 'empty', 'short', 'flipped', 'temporary']) {
      for (const path of ['tile/entries/001', 'tile/0/000', 'tile/0/002.p/88', 'tile/1/000.p/2']) {
        const folder = fresh();
        cpSync(whole, folder, { recursive: true });
        rmSync(join(folder, 'checkpoint'));
        const bytes = readFileSync(join(folder, path));
        if (damage === 'flipped') bytes[bytes.length - 5] ^= 1;
        if (damage === 'missing' || damage === 'temporary') rmSync(join(folder, path));
        else writeFileSync(join(folder, path), damage === 'empty' ? '' : damage === 'short' ? bytes.subarray(0, -1) : bytes);
        if (damage === 'temporary') writeFileSync(join(folder, `${path}.new`), 'half');
        const answer = await exported(folder, ...local());
        if (damage === 'missing' || damage === 'temporary') assert.equal(answer.fetched, 1, `${damage} ${path}`);
        else assert.ok(answer.fetched >= 1, `${damage} ${path}`);
        assert.deepEqual(files(folder), wholeOf(600));
        assert.equal(judge(folder).status, 0);
      }
    }
  });

  it('killed at any time leaves what the next run completes', async () => {
    const folder = fresh();
    for (const ms of [20, 60, 120]) {
      const child = spawn(programs.cli, ['--socket', hub.socket, 'ledger', 'export', ...local(), folder], { stdio: 'ignore' });
      setTimeout(() => child.kill('SIGKILL'), ms);
      await new Promise((done) => child.on('close', done));
    }
    await exported(folder, ...local());
    assert.deepEqual(files(folder), wholeOf(600));
    assert.equal(judge(folder).status, 0);
  });

  it('is brought up to date, and then continues what it was', async () => {
    const folder = fresh();
    await exported(folder, ...remote());
    const saved = join(root, 'saved-600');
    cpSync(join(folder, 'checkpoint'), saved);
    await grow(700);
    const answer = await exported(folder, ...remote());
    assert.deepEqual(files(folder), wholeOf(700), 'and the partial tiles of then are gone');
    assert.equal(answer.kept, 5, 'the full tiles and bundles were not fetched again');
    assert.equal(judge(folder, { saved }).status, 0);
    assert.equal((await exported(folder, ...remote())).fetched, 0, 'nothing is new');
  });

  it('can be a part: only the tiles that prove it, and further parts beside it', async () => {
    const folder = fresh();
    const answer = await exported(folder, ...remote(), '--from', '300', '--to', '310');
    assert.equal(answer.first, 300);
    assert.equal(answer.last, 310);
    const size = answer.size;
    const edge = size % 256;
    assert.deepEqual(files(folder), ['checkpoint', 'ledger.vkey', 'tile/0/001', `tile/0/002.p/${edge}`, 'tile/1/000.p/2', 'tile/entries/001'].sort());
    assert.equal(judge(folder, { range: [300, 310] }).entries_read, 11);
    assert.equal(judge(folder, { range: [300, 310], saved: join(root, 'saved-600') }).status, 0);
    const beyond = judge(folder, { range: [200, 310] });
    assert.equal(beyond.status, 5);
    assert.equal(beyond.code, 'tile-unreadable');
    const all = judge(folder);
    assert.equal(all.status, 5);
    assert.match(all.detail, /say which with --range/);
    assert.equal(judge(folder, { range: [300, size] }).code, 'ledger-range');

    await grow(size + 5);
    await exported(folder, ...remote(), '--from', '0', '--to', '3');
    assert.equal(judge(folder, { range: [0, 310] }).status, 0, 'the second part is of the same checkpoint');
    await refused(4, /name another folder for entries that came later/, folder, ...remote(), '--from', '0', '--to', String(size + 1));
    await refused(4, /the checkpoint is of \d+ entries/, fresh(), ...local(), '--from', '100000');
    await exported(folder, ...remote());
    assert.deepEqual(files(folder), wholeOf(size + 5), 'and a whole one after all');
    assert.equal(judge(folder).status, 0);
  });

  // Whoever has the hub, and its key: another history is served where the first was.
  it('never takes the place of a history that is contradicted', async () => {
    const log = signer('fleet.example/ledger', 1);
    const entriesOf = (size, word = 'entry') => Array.from({ length: size }, (_, i) => Buffer.from(`{"${word}":${i}}`));
    const served = (entries) => {
      const folder = fresh();
      writeLog(folder, entries, checkpointFor(entries, log));
      return folder;
    };
    const unchanged = async (shows, status, says, { without } = {}) => {
      const folder = served(entriesOf(600));
      writeFileSync(join(folder, 'ledger.vkey'), `${log.vkey}\n`);
      if (without) rmSync(join(folder, without));
      const before = files(folder).map((path) => [path, readFileSync(join(folder, path))]);
      const server = await serve(shows, join(root, 'false.sock'));
      const { code, stderr } = await holdfast(['--socket', join(root, 'false.sock'), 'ledger', 'export', '--local', '--key', log.vkey, folder]);
      server.close();
      assert.equal(code, status, stderr);
      assert.match(stderr, says);
      for (const [path, bytes] of before) assert.ok(readFileSync(join(folder, path)).equals(bytes), `${path}: evidence is kept`);
    };
    await unchanged(served(entriesOf(599)), 9, /has 599 entries, and had 600/);
    await unchanged(served(entriesOf(600, 'other')), 9, /signed two histories/);
    await unchanged(served(entriesOf(600).with(3, Buffer.from('{}'))), 9, /signed two histories/);
    // it has grown since, so nothing but the tiles tells: what is there, and what is shown now, each agree with themselves
    await unchanged(served(entriesOf(768).with(3, Buffer.from('{}'))), 9, /history was replaced and signed anew/);
    await unchanged(served(entriesOf(600, 'other')), 5, /holds tiles that are not of it: name another folder/, { without: 'checkpoint' });
  });

  it('has clear errors', async () => {
    const file = join(root, 'a-file');
    writeFileSync(file, '');
    await refused(2, /either --url .* or --local/, fresh());
    await refused(2, /--from/, fresh(), ...local(), '--from', 'one');
    await refused(2, /--to/, fresh(), ...local(), '--from', '10', '--to', '9');
    await refused(6, /a-file: Not a directory|a-file: File exists/, file, ...local());
    await refused(6, /No such file/, join(root, 'no/such'), ...local());
    const folder = fresh();
    mkdirSync(folder);
    writeFileSync(join(folder, 'checkpoint'), 'nonsense\n');
    await refused(5, /is not a checkpoint/, folder, ...local());
    const { code, stderr } = await hub.cli('ledger', 'export', '--local');
    assert.equal(code, 2, stderr);
  });
});
