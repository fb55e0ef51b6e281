// A store moved from SQLite to PostgreSQL, by the command, with a real hub before and after.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { cp, readFile, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Hub, as, enrolledDevice, programs, until } from './lib/hub.mjs';
import { holdfast } from './lib/cli.mjs';
import { Postgres } from './lib/postgres.mjs';

const run = promisify(execFile);
const env = { PATH: [dirname(programs.hub), process.env.PATH].join(delimiter) };

describe('store move', () => {
  let hub, postgres, device, from, to, first;
  const config = () => ['--config', join(hub.folder, 'hub.conf')];
  const move = (source, target) => holdfast(['store', 'move', source, target, '--json', ...config()], { env });
  const refused = ({ code, stderr }, exit, words) => {
    assert.equal(code, exit, stderr);
    assert.match(JSON.parse(stderr).detail, words);
  };

  before(async () => {
    postgres = await Postgres.start();
    hub = await Hub.start();
    await hub.factory();
    device = await enrolledDevice(hub, 'm-1');
    for (let i = 0; i < 8; i++)
      await hub.claims(...Array.from({ length: 1000 }, (_, n) => `row-${i}-${n}`));
    await hub.must(200, 'POST', '/v1/devices/row-0-7/revoke', { reason: 'before' });
    from = `sqlite:${join(hub.state, 'hub.db')}`;
    to = await postgres.database('fleet');
  });
  after(async () => {
    await hub?.discard();
    await postgres?.stop();
  });

  it('takes no password on the command line, which others can read', async () => {
    for (const store of ['postgresql://u:secret@db/fleet', 'postgresql://db/fleet?sslmode=require&password=secret', 'postgresql://db/fleet?password=secret'])
      for (const [source, target] of [[from, store], [store, from]]) {
        const done = await move(source, target);
        refused(done, 2, /passfile=FILE/);
        assert.ok(!(done.stdout + done.stderr).includes('secret'));
      }
  });

  it('is refused while a hub has the store open', async () => {
    refused(await move(from, to), 3, /in use/);
    first = await hub.must(200, 'GET', '/v1/hub');
    await hub.end();
  });

  it('is refused from nothing, to itself, and to what is no store', async () => {
    refused(await move(`sqlite:${join(hub.folder, 'none.db')}`, to), 4, /none\.db/);
    await assert.rejects(stat(join(hub.folder, 'none.db')));
    const itself = await move(from, from);
    assert.notEqual(itself.code, 0);
    refused(await move(from, 'mysql://x'), 1, /no store we know/);
    refused(await move(from, 'postgresql:///nobody?host=/nowhere'), 3, /nowhere/);
    refused(await move(to, from), 1, /make a backup/);
  });

  it('goes on where it was cut short', async () => {
    const words = ['move', '--config', join(hub.folder, 'hub.conf'), '--from', from, to];
    const filling = async () => Number(await postgres.sql('fleet',
      `SELECT CASE WHEN to_regclass('device') IS NULL THEN 0 ELSE (SELECT count(*) FROM device) END`).catch(() => 0));
    const child = spawn(programs.hub, words, { stdio: 'ignore' });
    const ended = new Promise((done) => child.once('exit', (code, signal) => done(signal)));
    const rows = await until('some rows are there', filling);
    child.kill('SIGKILL');
    assert.equal(await ended, 'SIGKILL', 'the move was over before it could be cut short');
    assert.ok(rows > 0 && (await filling()) >= rows);
    hub.config.store = to; // the half of it is no store
    await assert.rejects(hub.launch(), /not whole/);

    // Another store's rows do not go on there.
    const other = join(hub.folder, 'other');
    await cp(hub.state, other, { recursive: true });
    delete hub.config.store;
    await hub.launch();
    await hub.must(200, 'POST', '/v1/devices/row-0-8/revoke', { reason: 'meanwhile' });
    await hub.end();
    refused(await move(from, to), 1, /not empty/);
    await cp(other, hub.state, { recursive: true });
  });

  it('moves all rows, and closes what was left', async () => {
    const { code, stdout, stderr } = await move(from, to);
    assert.equal(code, 0, stderr);
    const told = JSON.parse(stdout);
    assert.equal(told.tables.device, 8001);
    assert.equal(told.ledger_size, first.ledger.size);
    assert.equal(Number(await postgres.sql('fleet', 'SELECT count(*) FROM device')), 8001);
    await assert.rejects(hub.launch(), /moved, and goes on elsewhere/);
  });

  it('lets the hub go on there, its ledger the same', async () => {
    hub.config.store = to;
    await hub.launch();
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
    assert.equal((await hub.must(200, 'GET', '/v1/devices/row-0-7')).state, 'revoked');
    await hub.must(200, 'POST', '/v1/devices/m-1/quarantine', { reason: 'goes on' });
    const key = join(hub.state, 'ledger.vkey');
    const { code, stderr } = await hub.cli('ledger', 'verify', '--local', '--key', key);
    assert.equal(code, 0, stderr);
    const now = await hub.must(200, 'GET', '/v1/hub');
    assert.ok(now.ledger.size > first.ledger.size);
    await hub.end();
  });

  it('says no to a second one, and goes back by a backup', async () => {
    refused(await move(from, to), 1, /not empty/);
    const [key, certificate, file] = ['key', 'pem', 'cms'].map((end) => join(hub.folder, `backup.${end}`));
    await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                          '-keyout', key, '-out', certificate, '-subj', '/CN=owner']);
    const backup = (...words) => holdfast(['backup', ...words, ...config()], { env });
    const created = await backup('create', '--recipient', certificate, '--output', file);
    assert.equal(created.code, 0, created.stderr);
    hub.config.store = `sqlite:${join(hub.state, 'back.db')}`;
    const conf = join(hub.folder, 'hub.conf');
    await writeFile(conf, (await readFile(conf, 'utf8')).replace(/^store = .*$/m, `store = ${hub.config.store}`));
    const restored = await backup('restore', file, '--key', key);
    assert.equal(restored.code, 0, restored.stderr);
    await hub.launch();
    assert.equal((await hub.must(200, 'GET', '/v1/devices/m-1')).state, 'quarantined');
    await hub.end();
  });
});
