// Witnesses: each on a machine of its own, with a real hub; what they cosign is judged by holdfast-verify,
// and what does not continue is cosigned by nobody.
import assert from 'node:assert/strict';
import { cp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Hub, programs, until } from './lib/hub.mjs';

const LATER = '2099-01-01T00:00:00Z';

describe('a witness', { timeout: 240000 }, () => {
  let hub, token;
  const at = (name) => join(hub.folder, name);
  const key = () => at('ledger.vkey');
  const grow = async (n) => {
    for (let i = 0; i < n; i++) await hub.must(201, 'POST', '/v1/devices/grower/claim', { expires_at: LATER });
    await until('it is signed', async () => {
      const { ledger: { size, checkpoint_size } } = await hub.must(200, 'GET', '/v1/hub');
      return size === checkpoint_size;
    });
  };
  const cosign = (witness, ...words) => hub.cli('witness', 'cosign', at(witness), '--url', `https://localhost:${hub.ports.operator}`,
    '--token-file', token, '--roots', at('root.pem'), '--key', key(), ...words);
  const must = async (witness, ...words) => {
    const { code, stdout, stderr } = await cosign(witness, ...words);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const sizeOf = (note) => Number(note.split('\n')[1]);
  const verify = (checkpoint, quorum) => spawnSync(programs.verify, ['--json', '--key', key(), ...['w1', 'w2'].flatMap((name) => ['--witness', join(at(name), 'witness.vkey')]),
    '--quorum', String(quorum), '--checkpoint', checkpoint, at('copy')], { encoding: 'utf8' });

  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    await hub.claims('grower');
    await cp(join(hub.state, 'ledger.vkey'), key());
    await cp(hub.roots, at('root.pem'));
    token = at('token');
    await writeFile(token, `${(await hub.must(201, 'POST', '/v1/tokens', { name: 'witness', scopes: ['ledger'], expires_at: LATER })).token}\n`, { mode: 0o600 });
    await grow(5);
  });
  after(() => hub.discard());

  it('has a key of its own, made once', async () => {
    for (const name of ['w1', 'w2']) {
      const { code, stdout } = await hub.cli('witness', 'create', `witness.example/${name}`, at(name));
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`^witness\\.example/${name}\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]+\n$`));
      assert.equal(stdout, await readFile(join(at(name), 'witness.vkey'), 'utf8'));
      assert.equal((await stat(join(at(name), 'witness.key'))).mode & 0o777, 0o400);
    }
    const again = await hub.cli('witness', 'create', 'witness.example/w1', at('w1'));
    assert.equal(again.code, 1);
    assert.match(again.stderr, /key already/);
    assert.equal((await hub.cli('witness', 'create', 'a name', at('w3'))).code, 2);
    assert.match((await cosign('w3')).stderr, /no witness's key/);
  });

  it('cosigns what continues, and two of them vouch for one checkpoint', async () => {
    const first = await must('w1');
    assert.match(first, /\n\u2014 witness\.example\/w1 /);
    assert.equal(sizeOf(await must('w1')), sizeOf(first)); // the same, once more
    await grow(300); // past a tile
    await must('w1', '-o', at('one'));
    await must('w2', '--checkpoint', at('one'), '-o', at('both'));
    assert.equal((await hub.cli('ledger', 'export', at('copy'), '--local', '--key', key())).code, 0);
    const one = await readFile(at('one'), 'utf8');
    assert.ok(sizeOf(one) > sizeOf(first) + 290);
    for (const [checkpoint, quorum, status] of [['one', 1, 0], ['one', 2, 5], ['both', 2, 0]]) {
      const found = verify(at(checkpoint), quorum);
      assert.equal(found.status, status, `${checkpoint} ${quorum}: ${found.stdout}${found.stderr}`);
    }
    await grow(3);
    await must('w1');
    await must('w2');
  });

  it('cosigns nothing by another key, and nothing that was altered', async () => {
    const kept = await readFile(join(at('w1'), 'checkpoint'), 'utf8');
    const note = (await readFile(at('one'), 'utf8')).replace(/\n\d+\n/, '\n999999\n');
    await writeFile(at('altered'), note);
    assert.equal((await cosign('w1', '--checkpoint', at('altered'))).code, 5);
    await writeFile(at('foreign.vkey'), await readFile(join(at('w2'), 'witness.vkey')));
    assert.notEqual((await cosign('w1', '--key', at('foreign.vkey'))).code, 0);
    // an older one, though it is signed
    const older = await cosign('w1', '--checkpoint', at('one'));
    assert.equal(older.code, 9, older.stderr);
    assert.match(older.stderr, /does not continue/);
    assert.equal(await readFile(join(at('w1'), 'checkpoint'), 'utf8'), kept);
  });

  it('cosigns no fork, also one that is longer', async () => {
    const kept = await readFile(join(at('w1'), 'checkpoint'), 'utf8');
    await hub.end();
    const state = at('aside');
    await cp(hub.state, state, { recursive: true });
    // The state of a hub that is young again: the same keys, and another history.
    for (const name of ['hub.db', 'hub.db-wal', 'hub.db-shm', 'signer/ledger.state']) await rm(join(hub.state, name), { force: true });
    await hub.launch();
    await hub.factory();
    await hub.claims('grower');
    await writeFile(token, `${(await hub.must(201, 'POST', '/v1/tokens', { name: 'witness', scopes: ['ledger'], expires_at: LATER })).token}\n`, { mode: 0o600 });
    await grow(5);
    assert.equal((await cosign('w1')).code, 9, 'one that is shorter');
    await grow(400);
    const longer = await cosign('w1');
    assert.equal(longer.code, 9, longer.stderr);
    assert.equal(longer.stdout, '');
    assert.equal(await readFile(join(at('w1'), 'checkpoint'), 'utf8'), kept);
  });
});
