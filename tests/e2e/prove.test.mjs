// One entry with its proof: `holdfast ledger prove` makes it, holdfast-verify and Go's sumdb packages
// check it offline, and refuse whatever somebody has made of it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { holdfast } from './lib/cli.mjs';
import { Hub, programs, until } from './lib/hub.mjs';
import { growTo } from './lib/ledger.mjs';
import { buildGo, checkpointFor, signer, writeLog } from './lib/tlog.mjs';

const entriesOf = (size) => Array.from({ length: size }, (_, i) => Buffer.from(`{"entry":${i}}`));

describe('one entry with its proof', { timeout: 120000 }, () => {
  const log = signer('fleet.example/ledger', 1);
  const witnesses = ['w1', 'w2', 'w3'].map((name) => signer(`witness.example/${name}`, 4));
  let root, go;
  let made = 0;
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'prove-'));
    go = buildGo(root, 'verify_bundle');
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  const file = (content) => {
    const path = join(root, `file-${made++}`);
    writeFileSync(path, content);
    return path;
  };
  function make(entries, cosigners = [0, 1]) {
    const folder = join(root, `ledger-${made++}`);
    writeLog(folder, entries, checkpointFor(entries, log, cosigners.map((i) => witnesses[i])));
    return folder;
  }
  async function proven(number, folder) {
    const { code, stdout, stderr } = await holdfast(['ledger', 'prove', String(number), '--folder', folder, '--key', log.vkey]);
    assert.equal(code, 0, stderr);
    return stdout;
  }
  function judge(path, { quorum = 2, asked = witnesses, key = log.vkey } = {}) {
    const { status, stdout, stderr } = spawnSync(programs.verify, ['--json', '--key', key, ...asked.flatMap(({ vkey }) => ['--witness', vkey]),
      ...(asked.length ? ['--quorum', String(quorum)] : []), '--bundle', path], { encoding: 'utf8' });
    assert.doesNotMatch(stderr, /Sanitizer|runtime error/);
    const theirs = spawnSync(go, [key, String(asked.length ? quorum : 0), path, ...asked.map(({ vkey }) => vkey)], { encoding: 'utf8' });
    return { status, ...JSON.parse(stdout), go: theirs.status, goSays: theirs.stdout + theirs.stderr };
  }
  const refused = (text, code, options) => {
    const found = judge(file(text), options);
    assert.equal(found.status, 5, JSON.stringify(found));
    assert.equal(found.verified, false);
    assert.equal(found.code, code, found.detail);
    assert.equal(found.entry, undefined, 'what is not proven is not shown');
    assert.equal(found.go, 1, found.goSays);
  };

  it('is taken by both verifiers, wherever the entry stands', async () => {
    for (const size of [1, 2, 255, 256, 257, 600]) {
      const folder = make(entriesOf(size));
      for (const number of new Set([0, size >> 1, Math.min(size - 1, 255), Math.min(size - 1, 256), size - 1])) {
        const text = await proven(number, folder);
        assert.ok(text.length < 1500, 'it is small');
        const found = judge(file(text));
        assert.equal(found.status, 0, JSON.stringify(found));
        assert.equal(found.verified, true);
        assert.equal(found.number, number);
        assert.equal(found.entry, `{"entry":${number}}`);
        assert.equal(found.size, size);
        assert.equal(found.vouching, 2);
        assert.equal(found.goSays, `verified ${number} of ${size} 2\n{"entry":${number}}\n`);
      }
    }
  });

  it('is had from a hub, with a token, and says what the hub says', async () => {
    const hub = await Hub.start({ 'reader-per-minute': '100000' });
    try {
      await hub.factory();
      await hub.claims('grower');
      await growTo(hub, 300);
      await until('its checkpoint', async () => (await hub.must(200, 'GET', '/v1/hub')).ledger.checkpoint_size === 300, 5000);
      const { ledger } = await hub.must(200, 'GET', '/v1/hub');
      const { token } = await hub.must(201, 'POST', '/v1/tokens', { name: 'auditor', scopes: ['ledger'], expires_at: '2099-01-01T00:00:00Z' });
      const { size } = (await hub.must(200, 'GET', '/v1/hub')).ledger;
      await until('its checkpoint', async () => (await hub.must(200, 'GET', '/v1/hub')).ledger.checkpoint_size === size, 5000);
      const output = join(root, 'entry.tlog-proof');
      const { code, stderr } = await hub.cli('ledger', 'prove', '7', '--url', `https://localhost:${hub.ports.operator}`, '--roots', hub.roots,
        '--token-file', file(token), '--key', ledger.key, '-o', output);
      assert.equal(code, 0, stderr);
      const found = judge(output, { asked: [], key: ledger.key });
      assert.equal(found.status, 0, JSON.stringify(found));
      const { entries } = await hub.must(200, 'GET', '/v1/ledger/entries?first=7&limit=1');
      assert.deepEqual(JSON.parse(found.entry), entries[0].entry);
      assert.equal(found.go, 0, found.goSays);
      // the same over the socket
      const local = await hub.cli('ledger', 'prove', '7', '--local', '--key', ledger.key);
      assert.equal(local.code, 0);
      assert.equal(local.stdout, readFileSync(output, 'utf8'));
      const none = await hub.cli('ledger', 'prove', '100000', '--local', '--key', ledger.key);
      assert.equal(none.code, 4, none.stderr);
      assert.match(none.stderr, /the checkpoint is of \d+ entries, the first is number 0/);
    } finally {
      await hub.stop();
    }
  });

  it('shows a person the entry, and a terminal nothing that it would obey', async () => {
    const entries = entriesOf(9).with(4, Buffer.from('{"\u001b[31m":"\u00e9"}'));
    const path = file(await proven(4, make(entries)));
    const { status, stdout } = spawnSync(programs.verify, ['--key', log.vkey, '--bundle', path], { encoding: 'utf8' });
    assert.equal(status, 0);
    assert.match(stdout, /^entry {11}4, belongs to the signed root\n\{"\\x1b\[31m":"\\xc3\\xa9"\}$/m);
    assert.equal(judge(path).entry, entries[4].toString());
    // bytes that are no text are told as such
    const bytes = Buffer.from([0xff, 0, 10]);
    const other = judge(file(await proven(0, make([bytes]))));
    assert.equal(other.entry, undefined);
    assert.equal(other.entry_base64, bytes.toString('base64'));
  });

  // Whoever passes it on, without a key.
  it('is refused with anything changed', async () => {
    const folder = make(entriesOf(600));
    const text = await proven(300, folder);
    const lines = text.split('\n');
    const withLine = (n, line) => lines.with(n, line).join('\n');
    const entry = (value) => `extra ${Buffer.from(value).toString('base64')}`;
    assert.equal(lines[2], 'index 300');
    refused(withLine(1, entry('{"entry":301}')), 'entry');
    refused(withLine(1, 'extra '), 'entry');
    refused(withLine(2, 'index 301'), 'entry');
    refused(withLine(2, 'index 600'), 'entry');
    refused(withLine(2, 'index 0300'), 'bundle');
    for (let i = 3; lines[i] !== ''; i++) {
      refused(withLine(i, Buffer.alloc(32, 7).toString('base64')), 'entry');
      refused(lines.toSpliced(i, 1).join('\n'), 'entry');
      refused(lines.toSpliced(i, 0, lines[i]).join('\n'), 'entry');
    }
    refused(lines.toSpliced(1, 1).join('\n'), 'bundle');
    refused(text.replace('@v1', '@v2'), 'bundle');
    refused(text.replace('\n600\n', '\n601\n'), 'signature');
    for (const part of [0, 10, 60, 200, 500]) refused(text.slice(0, part), 'bundle');
    // another checkpoint of the same ledger: signed, but not of this proof
    const other = await proven(300, make(entriesOf(601)));
    refused(`${text.split('\n\n')[0]}\n\n${other.split('\n\n').slice(1).join('\n\n')}`, 'entry');
  });

  // Whoever has the log's key: an entry that the witnesses never saw.
  it('is refused without its witnesses, or by another key', async () => {
    const text = await proven(5, make(entriesOf(600), [2]));
    refused(text, 'witnesses');
    assert.equal(judge(file(text), { quorum: 1 }).status, 0);
    refused(text, 'signature', { key: signer('fleet.example/ledger', 1).vkey });
  });

  it('is not made of a copy that does not hold, or does not have it', async () => {
    const prove = (number, folder, key = log.vkey) => holdfast(['ledger', 'prove', String(number), '--folder', folder, '--key', key]);
    const damaged = make(entriesOf(600));
    const path = join(damaged, 'tile/entries/001');
    const bytes = readFileSync(path);
    bytes[20] ^= 1;
    writeFileSync(path, bytes);
    const found = await prove(300, damaged);
    assert.equal(found.code, 5, found.stderr);
    assert.match(found.stderr, /does not agree with its hash tile/);
    assert.equal(found.stdout, '');
    rmSync(path);
    const missing = await prove(300, damaged);
    assert.equal(missing.code, 5);
    assert.match(missing.stderr, /cannot be had/);
    assert.equal((await prove(600, damaged)).code, 4);
    assert.equal((await prove(3, damaged, signer('fleet.example/ledger', 1).vkey)).code, 5);
    assert.equal((await prove(3, root)).code, 6);
    assert.equal((await prove('x', damaged)).code, 2);
    const both = await holdfast(['ledger', 'prove', '3', '--folder', damaged, '--local', '--key', log.vkey]);
    assert.equal(both.code, 2);
    assert.match(both.stderr, /--folder is instead of/);
  });

  it('has clear errors for command lines and files', () => {
    const folder = make(entriesOf(2));
    for (const [words, status, says] of [
      [['--bundle', join(folder, 'checkpoint'), folder], 2, /one folder that holds the ledger, or one --bundle/],
      [['--bundle', join(folder, 'checkpoint'), '--saved', 'x'], 2, /has its own checkpoint/],
      [['--bundle', join(folder, 'checkpoint'), '--range', '0-1'], 2, /has its own checkpoint/],
      [['--bundle', join(folder, 'checkpoint')], 5, /is not an entry with its proof/],
      [['--bundle', folder], 6, /not a regular file/],
      [['--bundle', join(folder, 'nothing')], 6, /no such file/],
      [['--bundle', file('x'.repeat(200000))], 6, /too long/],
    ]) {
      const found = spawnSync(programs.verify, ['--key', log.vkey, ...words], { encoding: 'utf8' });
      assert.equal(found.status, status, `${words.join(' ')}: ${found.stderr}`);
      assert.match(found.stderr, says);
    }
  });
});
