// The ledger as somebody else reads it: checkpoint and tiles over HTTPS with a token, recomputed by a
// reader that shares no code with the hub; and what becomes of it where somebody edits the database.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, as, curl, enrol, enrolledDevice, newKey, csrBody, sleep, until } from './lib/hub.mjs';
import { growTo } from './lib/ledger.mjs';
import { connect } from './lib/wire.mjs';
import { readBundle, readCheckpoint, readKey, tileBytes, tilePath, tilesOf, treeHash, verifyLog } from './lib/tlog.mjs';

const run = promisify(execFile);
const LATER = '2099-01-01T00:00:00Z';

const tokenFor = async (hub, name, scopes, expires_at = LATER) =>
  (await hub.must(201, 'POST', '/v1/tokens', { name, scopes, expires_at })).token;
const bearer = (token) => ['-H', `Authorization: Bearer ${token}`];
const keyOf = async (hub) => readKey((await hub.must(200, 'GET', '/v1/hub')).ledger.key);

// Reads it over HTTPS on one connection.
async function reader(hub, token) {
  const wire = await connect(hub, 'operator');
  const headers = { Authorization: `Bearer ${token}` };
  const get = (path) => wire.request('GET', `/v1/ledger/${path}`, { headers });
  return {
    get,
    async tile(path) {
      const answer = await get(`tile/${path}`);
      assert.equal(answer.status, 200, `${path}: ${answer.body}`);
      return answer.body;
    },
    // The checkpoint of at least `size` entries; it is signed behind the replies.
    async checkpoint(key, size) {
      await until(`a checkpoint of ${size}`, async () => (await hub.must(200, 'GET', '/v1/hub')).ledger.checkpoint_size >= size, 5000);
      const answer = await get('checkpoint');
      assert.equal(answer.status, 200);
      return readCheckpoint(answer.body, key);
    },
    destroy: () => wire.destroy(),
  };
}

describe('the ledger, read from elsewhere', { timeout: 120000 }, () => {
  let hub;
  let token;
  before(async () => {
    hub = await Hub.start({ 'reader-per-minute': '100000' });
    await hub.factory();
    await hub.claims('grower');
    token = await tokenFor(hub, 'auditor', ['ledger']);
  });
  after(() => hub.stop());

  // First of all: a refusal before it would leave a finding at a moment of its own.
  it('has the tiles that RFC 6962 and C2SP tlog-tiles ask for, at every size around the width of one', async (t) => {
    const from = await reader(hub, token);
    const key = await keyOf(hub);
    let previous;
    for (const size of [100, 255, 256, 257, 258, 511, 512, 513]) {
      await growTo(hub, size);
      const checkpoint = await from.checkpoint(key, size);
      assert.equal(checkpoint.size, size);
      assert.equal(checkpoint.origin, 'fleet.example/ledger');
      const { entries, leaves } = await verifyLog(checkpoint, from.tile);
      for (const entry of entries) JSON.parse(entry);
      if (previous) {
        assert.ok(treeHash(leaves.slice(0, previous.size)).equals(previous.root), 'it continues the one before');
        assert.deepEqual(entries.slice(0, previous.entries.length), previous.entries, 'what is there never changes');
      }
      previous = { ...checkpoint, entries, leaves };
    }
    t.diagnostic(`${previous.size} entries, ${tilesOf(previous.size).length} tiles`);

    // Each partial tile that a reader of an earlier size may ask for.
    const { size, leaves, entries } = previous;
    for (const width of [1, 2, 3, 127, 128, 254, 255]) {
      assert.ok((await from.tile(`0/000.p/${width}`)).equals(tileBytes(leaves, { level: 0, index: 0, width })));
      assert.deepEqual(readBundle(await from.tile(`entries/000.p/${width}`)), entries.slice(0, width));
      assert.deepEqual(readBundle(await from.tile(`entries/001.p/${width}`)), entries.slice(256, 256 + width));
    }
    assert.ok((await from.tile('1/000.p/2')).equals(tileBytes(leaves, { level: 1, index: 0, width: 2 })));
    assert.ok((await from.tile('1/000.p/1')).equals(treeHash(leaves.slice(0, 256))));

    // What is not there, and what is not how a tile is called.
    const none = [tilePath(0, 3), tilePath(0, 2, size % 256 + 1), tilePath(0, 2), tilePath(1, 0, 3), tilePath(1, 0), tilePath(1, 1, 1), tilePath(2, 0, 1), tilePath('entries', 3, 1),
                  tilePath('entries', 2), '0/x001/000', '0/x999/x999/x999/999', '5/000', '6/000', '63/000', '00/000', '01/000', '0/0', '0/00', '0/0000', '0/000.p/0', '0/000.p/256', '0/000.p/01',
                  '0/000.p/', '0/000.p', '0/000.p/1/', '0/000/', '0//000', '0/x000/000', '0/x000/001', '0/001.p/1.p/1', 'entries/000/', 'entries', 'entries/', '-1/000', 'x/000', '0/-01',
                  '0/000.p/-1', '0/000.p/1e2', '0/000.p/999999999999', '0/18446744073709551616', 'a'.repeat(58), 'a'.repeat(200)];
    for (const path of none) {
      const answer = await from.get(`tile/${path}`);
      assert.ok([400, 404].includes(answer.status), `${path}: ${answer.status}`);
      assert.ok(answer.json.code, path);
    }
    const full = await from.get('tile/0/000');
    assert.match(full.headers['cache-control'], /immutable/);
    assert.equal(full.headers['content-type'], 'application/octet-stream');
    assert.doesNotMatch((await from.get('tile/0/002.p/1')).headers['cache-control'], /immutable/, 'a partial one gives way to a wider one');
    from.destroy();
  });

  it('is refused without a token, and with one that is wrong, ended, expired or for something else', async () => {
    const soon = new Date(Date.now() + 2000).toISOString().slice(0, 19) + 'Z';
    const short = await tokenFor(hub, 'short', ['ledger'], soon);
    const other = await tokenFor(hub, 'other', ['metrics']);
    const ended = await tokenFor(hub, 'ended', ['ledger']);
    assert.equal((await hub.api('DELETE', '/v1/tokens/ended')).status, 204);
    await until('the short one expires', () => Date.now() > Date.parse(soon), 5000);
    const wrong = [[], bearer(short), bearer(other), bearer(ended), bearer(token.replace(/.$/, (c) => (c === '0' ? '1' : '0'))), bearer(token.replace('auditor', 'other')),
                   bearer(`${token}0`), bearer(token.slice(0, -1)), bearer(''), bearer('hf~default~auditor~'), bearer('hf~default~nobody~' + '0'.repeat(64)), ['-u', `auditor:${token}`], ['-H', `Authorization: ${token}`],
                   ['-H', `Cookie: token=${token}`]];
    for (const words of wrong) {
      for (const path of ['/v1/ledger/checkpoint', '/v1/ledger/tile/entries/000.p/1', '/v1/ledger/tile/0/000.p/1']) {
        const answer = await curl(hub, 'operator', path, words);
        assert.equal(answer.status, 401, `${words}: ${answer.status}`);
        assert.equal(answer.json.code, 'token-refused');
        assert.match(answer.headers['www-authenticate'], /^Bearer/);
      }
    }
    assert.equal((await curl(hub, 'operator', `/v1/ledger/checkpoint?access_token=${token}`)).status >= 400, true, 'not in the query (RFC 6750 section 2.3)');
    assert.equal((await curl(hub, 'operator', '/metrics', bearer(token))).status, 401, 'nor does it open anything else');
    assert.equal((await curl(hub, 'operator', '/metrics', bearer(other))).status, 200);
    assert.equal((await curl(hub, 'operator', '/v1/ledger/entries', bearer(token))).status, 404, 'decoded entries are for the local socket');
    assert.equal((await curl(hub, 'operator', '/v1/ledger/checkpoint', bearer(token))).status, 200);
  });

  it('is open to trusted devices, and to no others', async () => {
    const device = await enrolledDevice(hub, 'watcher');
    const answer = await as(hub, device, '/v1/ledger/checkpoint');
    assert.equal(answer.status, 200);
    assert.ok(readCheckpoint(answer.body, await keyOf(hub)).size > 0);
    assert.equal((await as(hub, device, '/v1/ledger/tile/entries/000.p/1')).status, 200);
    assert.equal((await curl(hub, 'bootstrap', '/v1/ledger/checkpoint')).status, 404);
  });

  it('gives the same to the local socket, and the same entries decoded', async () => {
    const from = await reader(hub, token);
    const bundle = readBundle(await from.tile('entries/000'));
    const local = await hub.api('GET', '/v1/ledger/tile/entries/000');
    assert.deepEqual(readBundle(local.body), bundle);
    const { entries } = await hub.must(200, 'GET', '/v1/ledger/entries?limit=256');
    assert.deepEqual(entries.map(({ entry }) => entry), bundle.map((entry) => JSON.parse(entry)));
    assert.deepEqual(entries.map(({ number }) => number), bundle.map((_, i) => i));
    const newest = await hub.must(200, 'GET', '/v1/ledger/entries?limit=3&order=desc');
    assert.deepEqual(newest.entries.map(({ number }) => number), [1, 2, 3].map((i) => newest.size - i));
    const middle = await hub.must(200, 'GET', '/v1/ledger/entries?first=100&limit=2&order=desc');
    assert.deepEqual(middle.entries.map(({ number }) => number), [100, 99]);
    assert.deepEqual((await hub.must(200, 'GET', `/v1/ledger/entries?first=${newest.size}`)).entries, []);
    from.destroy();
  });

  it('has entries that tell nothing by their hashes, and everything by their words', async () => {
    const entries = await hub.ledger();
    assert.equal(new Set(entries.map(({ n }) => n)).size, entries.length, 'random bytes in each');
    for (const { v, n, t, act, tenant, actor, subject, request } of entries) {
      assert.equal(v, 1);
      assert.match(n, /^[A-Za-z0-9_-]{22}$/);
      assert.match(t, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.match(act, /^[a-z][a-z0-9._-]*$/);
      assert.equal(tenant, 'default');
      assert.match(actor, /^(local:\d+|device:default\/\S+|enrolment:\S+|hub)$/);
      assert.match(subject, /^[a-z-]+\/\S+$/);
      assert.match(request, /^[0-9a-f]{32}$/);
    }
    const times = entries.map(({ t }) => t);
    assert.deepEqual(times, [...times].sort());
  });

  it('goes on after a crash where it stood, with the same key', async () => {
    const key = await keyOf(hub);
    const from = await reader(hub, token);
    const before = await from.checkpoint(key, 1);
    from.destroy();
    await hub.restart('SIGKILL');
    const again = await reader(hub, token);
    await hub.must(201, 'POST', '/v1/devices/grower/claim', { expires_at: LATER });
    const checkpoint = await again.checkpoint(key, before.size + 1);
    const { leaves } = await verifyLog(checkpoint, again.tile);
    assert.ok(treeHash(leaves.slice(0, before.size)).equals(before.root));
    again.destroy();
  });
});

describe('what strangers can trigger', { timeout: 60000 }, () => {
  // A window ends with the hub's first tick; after that the next minute is one window.
  const freshWindow = async (hub) => {
    await sleep(1500);
    return (await hub.ledger()).length;
  };

  it('enters the ledger as one finding with a count: 500 refusals from one address', async () => {
    const hub = await Hub.start({ 'public-per-minute': '1000000', 'connections-per-address': '1000' });
    try {
      await hub.factory();
      const start = await freshWindow(hub);
      await Promise.all(Array.from({ length: 10 }, async () => {
        const wire = await connect(hub, 'operator');
        for (let i = 0; i < 50; i++) {
          const answer = await wire.request('GET', '/v1/ledger/checkpoint', { headers: { Authorization: 'Bearer hf~default~x~y' } });
          assert.equal(answer.status, 401);
        }
        wire.destroy();
      }));
      await hub.restart(); // what is counted is written down at the end of a window, and of the hub
      const entries = (await hub.ledger()).slice(start);
      const findings = entries.filter(({ act }) => act === 'finding.refused');
      assert.equal(entries.length, findings.length, 'nothing else');
      const mine = findings.filter(({ data }) => data.kind === 'token-refused' && data.source === '127.0.0.1');
      assert.equal(mine.length, 1, 'one entry');
      assert.equal(mine[0].data.count, 500);
      assert.ok(Date.parse(mine[0].data.first) <= Date.parse(mine[0].data.last));
      assert.equal(findings.length, 1, JSON.stringify(findings.map(({ data }) => data)));
    } finally {
      await hub.stop();
    }
  });

  it('enters as at most 65 findings from however many addresses', async () => {
    const hub = await Hub.start();
    try {
      await hub.factory();
      const start = await freshWindow(hub);
      for (let i = 1; i <= 120; i++) {
        const wire = await connect(hub, 'operator', { address: `127.0.1.${i}` });
        assert.equal((await wire.request('GET', '/v1/nowhere')).status, 404);
        wire.destroy();
      }
      await hub.restart();
      const findings = (await hub.ledger()).slice(start).filter(({ act }) => act === 'finding.refused');
      assert.ok(findings.length <= 65, `${findings.length} entries in one window`);
      assert.equal(findings.reduce((sum, { data }) => sum + data.count, 0), 120, 'none is lost');
      assert.ok(findings.some(({ data }) => data.kind === 'others'));
    } finally {
      await hub.stop();
    }
  });

  it('names the used claim code and its device, so that somebody can look', async () => {
    const hub = await Hub.start();
    try {
      await hub.factory();
      const device = await enrolledDevice(hub, 'copied');
      assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
      const key = await newKey(join(hub.folder, 'thief.key'));
      assert.equal((await enrol(hub, 'copied', device.code, await csrBody(key, '/CN=copied'))).status, 403);
      await hub.restart();
      const finding = (await hub.ledger()).find(({ act, data }) => act === 'finding.refused' && data.kind === 'claim-used');
      assert.ok(finding, 'it is a finding of its own kind');
      assert.match(JSON.stringify(finding), /127\.0\.0\.1/);
      const reused = (await hub.ledger()).find(({ act, data }) => act === 'finding.refused' && data.kind === 'claim-reused');
      assert.equal(reused?.data.source, 'default/copied', 'and it is said which device it was');
    } finally {
      await hub.stop();
    }
  });
});

describe('a ledger that somebody edited while the hub was down', { timeout: 120000 }, () => {
  let hub;
  let token;
  let key;
  let saved; // a checkpoint that was kept elsewhere
  let backup;
  const kept = (name) => join(hub.folder, name);
  before(async () => {
    hub = await Hub.start({ 'reader-per-minute': '100000' });
    await hub.factory();
    await hub.claims('grower');
    token = await tokenFor(hub, 'auditor', ['ledger']);
    key = await keyOf(hub);
    await growTo(hub, 600);
    const from = await reader(hub, token);
    saved = await from.checkpoint(key, 600);
    await verifyLog(saved, from.tile);
    await writeFile(kept('checkpoint'), (await from.get('checkpoint')).body);
    await writeFile(kept('key'), `${(await hub.must(200, 'GET', '/v1/hub')).ledger.key}\n`);
    await writeFile(kept('token'), `${token}\n`, { mode: 0o600 });
    from.destroy();
    await hub.end();
    backup = join(hub.folder, 'backup');
    await cp(hub.state, backup, { recursive: true });
  });
  after(() => hub.discard());

  const sql = async (...statements) => {
    for (const statement of statements) {
      const { stdout } = await run('sqlite3', ['-bail', join(hub.state, 'hub.db'), statement, 'SELECT changes()']);
      assert.ok(Number(stdout) > 0, `it changes something: ${statement}`);
    }
  };
  const restore = async () => {
    await rm(hub.state, { recursive: true });
    await cp(backup, hub.state, { recursive: true });
  };
  // Somebody else's machine: `holdfast ledger verify` with what was kept there.
  const verify = () => hub.cli('ledger', 'verify', '--url', `https://localhost:${hub.ports.operator}`, '--roots', hub.roots,
                               '--token-file', kept('token'), '--key', kept('key'), '--saved', kept('checkpoint'));
  // Refused at the start, with what to do; or served, and caught by who verifies.
  const isCaught = async (what) => {
    let started = true;
    try {
      await hub.launch();
    } catch (error) {
      started = false;
      assert.match(hub.log, /store\.open|hub\.start|ledger\.roll_back/, `${what}: ${hub.log}`);
      assert.match(hub.log, /ledger/, `${what}: says what is wrong: ${hub.log}`);
      assert.notEqual((await hub.ended).code, 0);
    }
    if (!started) return 'refused at the start';
    try {
      const size = (await hub.must(200, 'GET', '/v1/hub')).ledger.size;
      const from = await reader(hub, token);
      const current = size < saved.size ? undefined : await from.checkpoint(key, 1);
      const { code, stdout, stderr } = await verify();
      assert.notEqual(code, 0, `${what}: holdfast ledger verify finds nothing: ${stdout}`);
      assert.ok(stderr.length > 0);
      if (current === undefined) return `smaller than the saved checkpoint; ${stderr.trim()}`;
      await assert.rejects(async () => {
        await verifyLog(saved, from.tile);
        await verifyLog(current, from.tile);
      }, `${what}: nobody noticed`);
      from.destroy();
      return stderr.trim();
    } finally {
      await hub.end();
    }
  };

  const edits = {
    'an entry changed at its end': ["UPDATE ledger_entry SET data = CAST(replace(CAST(data AS TEXT), 'local:', 'loca1:') AS BLOB) WHERE number = 599"],
    'an entry changed in its middle': ["UPDATE ledger_entry SET data = CAST(replace(CAST(data AS TEXT), 'grower', 'nobody') AS BLOB) WHERE number = 300"],
    'an entry changed at its beginning': ["UPDATE ledger_entry SET data = CAST(replace(CAST(data AS TEXT), 'default', 'another') AS BLOB) WHERE number = 0"],
    'an entry deleted at its end': ['DELETE FROM ledger_entry WHERE number = 599'],
    'an entry deleted in its middle': ['DELETE FROM ledger_entry WHERE number = 100'],
    'two entries that changed places': ['UPDATE ledger_entry SET number = 100000 WHERE number = 20', 'UPDATE ledger_entry SET number = 20 WHERE number = 21', 'UPDATE ledger_entry SET number = 21 WHERE number = 100000'],
    'the tail cut off': ['DELETE FROM ledger_entry WHERE number >= 580'],
    'an entry added at its end': ["INSERT INTO ledger_entry SELECT 600, leaf, data FROM ledger_entry WHERE number = 599"],
    'a leaf hash changed': ["UPDATE ledger_entry SET leaf = zeroblob(32) WHERE number = 10"],
    'a node changed': ['UPDATE ledger_node SET hash = zeroblob(32) WHERE level = 1 AND number = 0'],
    'the head set back': ['UPDATE ledger_head SET size = 500'],
    'the head removed': ['DELETE FROM ledger_head'],
    'the whole of it removed': ['DELETE FROM ledger_head', 'DELETE FROM ledger_entry', 'DELETE FROM ledger_node'],
  };
  for (const [what, statements] of Object.entries(edits)) {
    it(`does not pass: ${what}`, async (t) => {
      await restore();
      await sql(...statements);
      t.diagnostic(await isCaught(what));
    });
  }

  it('passes again once it is restored', async () => {
    await restore();
    await hub.launch();
    const from = await reader(hub, token);
    const { leaves } = await verifyLog(await from.checkpoint(key, saved.size), from.tile);
    assert.ok(treeHash(leaves.slice(0, saved.size)).equals(saved.root));
    from.destroy();
    const { code, stderr } = await verify();
    assert.equal(code, 0, stderr);
    await hub.end();
  });
});
