// The holdfast command and a hub that lies, is busy, or goes in between.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import http from 'node:http';
import { programs } from './lib/hub.mjs';
import { holdfast, lines } from './lib/cli.mjs';
import { leafHash, tileBytes, tilePath, tilesOf, treeHash } from './lib/tlog.mjs';

class FakeHub {
  static async start(handle) {
    const fake = new FakeHub();
    fake.folder = await mkdtemp(join(tmpdir(), 'holdfast-fake-'));
    fake.socket = join(fake.folder, 'hub.sock');
    fake.asked = [];
    fake.server = http.createServer(async (request, response) => {
      let body = '';
      for await (const part of request) body += part;
      fake.asked.push(`${request.method} ${request.url}`);
      const answer = await handle(request, body, response);
      if (answer === undefined) return;
      const { status = 200, type = 'application/json', body: content = '' } = answer;
      response.writeHead(status, { 'Content-Type': type });
      response.end(Buffer.isBuffer(content) || typeof content === 'string' ? content : JSON.stringify(content));
    });
    await new Promise((done) => fake.server.listen(fake.socket, done));
    return fake;
  }

  cli(...words) {
    return holdfast(['--socket', this.socket, ...words]);
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
    await rm(this.folder, { recursive: true, force: true });
  }
}

describe('a hub whose ledger is not right', () => {
  const origin = 'fleet.example/ledger';
  const pair = generateKeyPairSync('ed25519');
  const raw = Buffer.concat([Buffer.from([1]), pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(12)]);
  const id = createHash('sha256').update(`${origin}\n`).update(raw).digest().subarray(0, 4);
  const vkey = `${origin}+${id.toString('hex')}+${raw.toString('base64')}`;
  const note = (size, rootHash) => {
    const text = `${origin}\n${size}\n${rootHash.toString('base64')}\n`;
    const signature = Buffer.concat([id, sign(null, Buffer.from(text), pair.privateKey)]);
    return `${text}\n\u2014 ${origin} ${signature.toString('base64')}\n`;
  };
  const entriesOf = (n, tag = '') => Array.from({ length: n }, (_, i) => Buffer.from(`entry ${i}${tag}`));
  const bundle = (entries) => Buffer.concat(entries.flatMap((entry) => [Buffer.from([entry.length >> 8, entry.length & 255]), entry]));
  const log = (entries) => {
    const leaves = entries.map(leafHash);
    const files = new Map(tilesOf(entries.length).map((tile) => [
      tilePath(tile.level, tile.index, tile.width),
      tile.level === 'entries' ? bundle(entries.slice(tile.index * 256, tile.index * 256 + tile.width)) : tileBytes(leaves, tile),
    ]));
    return { note: note(entries.length, treeHash(leaves)), files };
  };

  const sound = log(entriesOf(700));
  const earlier = log(entriesOf(300)).note;
  const changed = (change) => {
    const copy = { note: sound.note, files: new Map(sound.files) };
    change(copy);
    return copy;
  };
  const flip = (path, at) => changed(({ files }) => {
    const bytes = Buffer.from(files.get(path));
    bytes[at] ^= 1;
    files.set(path, bytes);
  });
  const rewritten = entriesOf(700);
  rewritten[100] = Buffer.from('something else');

  const cases = [
    ['is sound', sound, earlier, 0],
    ['is sound, and nothing was saved', sound, undefined, 0],
    ['is the same as was saved', sound, sound.note, 0],
    ['is empty', log([]), undefined, 0],
    ['has a changed entry', flip('entries/000', 30), earlier, 5, 'ledger-damaged', /tile\/0\/000: an entry .*entry 3 is not/],
    ['has a changed hash', flip('0/001', 5), earlier, 5, 'ledger-damaged'],
    ['has a changed upper hash', flip('1/000.p/2', 5), earlier, 5, 'ledger-damaged'],
    ['lacks a tile', changed(({ files }) => files.delete('entries/001')), earlier, 5, 'ledger-incomplete'],
    ['has a short bundle', changed(({ files }) => files.set('entries/001', Buffer.alloc(0))), earlier, 5, 'ledger-damaged'],
    ['signs another root', changed((copy) => (copy.note = note(700, Buffer.alloc(32, 7)))), earlier, 5, 'ledger-root'],
    ['has a checkpoint that was edited', changed((copy) => (copy.note = sound.note.replace('\n700\n', '\n699\n'))), earlier, 5, 'signature'],
    ['has a checkpoint that is none', changed((copy) => (copy.note = 'hello\n')), earlier, 5, 'checkpoint'],
    ['is shorter than it was', log(entriesOf(200)), earlier, 9, 'ledger-shrunk', /200 entries, and had 300/],
    ['has two histories of one length', log(entriesOf(300, '!')), earlier, 9, 'ledger-forked'],
    ['has a new history, and signed it', log(rewritten), earlier, 9, 'ledger-rewritten', /first 300/],
  ];
  for (const [what, served, saved, code, word, message] of cases) {
    it(what, async () => {
      const fake = await FakeHub.start((request) => {
        if (request.url === '/v1/ledger/checkpoint') return { type: 'text/plain', body: served.note };
        const bytes = served.files.get(request.url.replace('/v1/ledger/tile/', ''));
        return bytes === undefined ? { status: 404, body: { status: 404, code: 'tile-not-found', detail: 'there is no such tile' } }
                                   : { type: 'application/octet-stream', body: bytes };
      });
      try {
        const file = join(fake.folder, 'saved'), next = join(fake.folder, 'next');
        if (saved !== undefined) await writeFile(file, saved);
        const words = ['ledger', 'verify', '--local', '--key', vkey, '--save', next, ...(saved === undefined ? [] : ['--saved', file])];
        const answer = await fake.cli('--json', ...words);
        assert.equal(answer.code, code, answer.stderr);
        if (code === 0) {
          assert.equal(JSON.parse(answer.stdout).sound, true);
          assert.equal(await readFile(next, 'utf8'), served.note);
        } else {
          const problem = JSON.parse(lines(answer.stderr).at(-1));
          assert.equal(problem.code, word, problem.detail);
          if (message) assert.match(problem.detail, message);
          assert.ok(!(await readdir(fake.folder)).includes('next'), 'what does not hold is not saved');
        }
      } finally {
        await fake.stop();
      }
    });
  }
});

describe('a hub that is busy, or goes', () => {
  const answerOf = (body) => ({ status: 201, body: { devices: JSON.parse(body).rows.map(({ serial, claim }) => ({ serial, ...(claim && { claim_code: `7K3MP-9QZTX-4HWC8-RVN2D-${serial}` }) })) } });

  it('is asked again', async () => {
    let times = 0;
    const fake = await FakeHub.start((request, body) => {
      if (request.method === 'GET') return { body: { id: 'm' } };
      if (times++ === 0) return { status: 503, body: { status: 503, code: 'busy', detail: 'The hub is busy.' } };
      return answerOf(body);
    });
    const file = join(fake.folder, 'm.csv');
    await writeFile(file, 'serial,claim\na,yes\nb,yes\n');
    const { code, stdout } = await fake.cli('manifest', 'import', 'm', file);
    await fake.stop();
    assert.equal(code, 0);
    assert.equal(lines(stdout).length, 2);
    assert.equal(times, 2);
  });

  it('loses an answer, and no code: what was made is made anew', async () => {
    const devices = new Map();
    let cut = true;
    const fake = await FakeHub.start((request, body, response) => {
      if (request.url.startsWith('/v1/devices?'))
        return { body: { devices: [...devices].map(([id, credential]) => ({ id, credential, state: 'expected' })) } };
      const claim = /^\/v1\/devices\/(.*)\/claim$/.exec(request.url);
      if (claim) return { status: 201, body: { serial: claim[1], claim_code: `NEW00-9QZTX-4HWC8-RVN2D-${claim[1]}` } };
      if (request.method === 'GET') return { body: { id: 'm' } };
      const { rows } = JSON.parse(body);
      rows.forEach(({ serial, claim: wanted }) => devices.set(serial, wanted ? 'claim' : 'key'));
      if (!cut) return answerOf(body);
      cut = false;
      response.destroy(); // it was done, and nobody hears of it
      return undefined;
    });
    const file = join(fake.folder, 'm.csv'), codes = join(fake.folder, 'codes');
    await writeFile(file, `serial,claim,key_sha256\na,yes,\nb,,${'0'.repeat(64)}\nc,yes,\n`);
    const words = ['manifest', 'import', 'm', file, '--claims-out', codes];
    const broken = await fake.cli(...words);
    assert.equal(broken.code, 3);
    assert.match(broken.stderr, /may or may not have been carried out/);
    assert.match(broken.stderr, /--resume/);
    const resumed = await fake.cli(...words, '--resume');
    const held = lines(await readFile(codes, 'utf8'));
    await fake.stop();
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.deepEqual(held.slice(1).map((line) => line.split(',').slice(0, 2)), [['a', 'NEW00-9QZTX-4HWC8-RVN2D-a'], ['c', 'NEW00-9QZTX-4HWC8-RVN2D-c']]);
  });

  it('is interrupted between chunks, and goes on from there', async () => {
    const devices = [];
    let child;
    const fake = await FakeHub.start((request, body) => {
      if (request.url.startsWith('/v1/devices?')) return { body: { devices: devices.map((id) => ({ id, credential: 'claim', state: 'expected' })) } };
      if (request.method === 'GET') return { body: { id: 'm' } };
      devices.push(...JSON.parse(body).rows.map(({ serial }) => serial));
      if (devices.length === 2000) child.kill('SIGINT');
      return answerOf(body);
    });
    const file = join(fake.folder, 'm.csv'), codes = join(fake.folder, 'codes');
    await writeFile(file, 'serial,claim\n' + Array.from({ length: 5000 }, (_, i) => `s${i},yes\n`).join(''));
    const words = ['--socket', fake.socket, 'manifest', 'import', 'm', file, '--claims-out', codes];
    child = spawn(programs.cli, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (data) => (said += data));
    assert.equal(await new Promise((done) => child.on('close', done)), 130, said);
    assert.match(said, /--resume goes on/);
    assert.equal(lines(await readFile(codes, 'utf8')).length, 1 + devices.length, 'every code that was made is kept');
    assert.ok(devices.length < 5000);
    const resumed = await holdfast([...words, '--resume']);
    const held = lines(await readFile(codes, 'utf8')).length;
    await fake.stop();
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.deepEqual([devices.length, held], [5000, 5001]);
  });

  it('is not a hub', async () => {
    for (const answer of [{ body: 'hello', type: 'text/html' }, { body: { devices: 7 } }, { body: '{"devices":[' }, { status: 302, body: '' }]) {
      const fake = await FakeHub.start(() => answer);
      const { code, stdout } = await fake.cli('device', 'list');
      await fake.stop();
      assert.equal(code, 3);
      assert.equal(stdout, '');
    }
  });

  it('says things that a terminal would obey', async () => {
    const evil = '\u001b[2J\u009b31m\u202egnp.exe\r\n';
    const fake = await FakeHub.start((request) => {
      if (request.url.startsWith('/v1/devices?')) return { body: { devices: [{ id: `a${evil}`, state: evil, model: evil, owner: evil, manifest: evil, reason: evil }] } };
      if (request.url.startsWith('/v1/devices/')) return { body: { id: 'a', state: 'trusted', reason: evil, report: { platform: evil, facts: { [evil]: evil } } } };
      if (request.url.startsWith('/v1/ledger/entries')) return { body: { size: 1, entries: [{ number: 0, entry: { t: evil, act: evil, subject: evil, actor: evil, data: { [evil]: evil } } }] } };
      return { status: 400, body: { status: 400, code: evil, field: evil, detail: evil } };
    });
    for (const words of [['device', 'list'], ['device', 'show', 'a'], ['ledger', 'tail'], ['ledger', 'show', '0'], ['hub', 'show']]) {
      const { stdout, stderr } = await fake.cli(...words);
      assert.doesNotMatch(stdout + stderr, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/u, words.join(' '));
      assert.match(stdout + stderr, /\ufffd\[2J/);
    }
    await fake.stop();
  });
});
