// Who may be an operator on the hub's own machine, and an operator's long work.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile, spawn } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, enrol, newKey, csrBody, programs, sleep, until } from './lib/hub.mjs';
import { holdfast, lines } from './lib/cli.mjs';
import { operations } from './lib/contract.mjs';
import { Wire } from './lib/wire.mjs';

const run = promisify(execFile);
const needsRoot = process.getuid() === 0 ? false : 'SKIPPED: run as root to see what other users may do';
if (needsRoot) console.error(needsRoot);

async function uidOf(user) {
  return Number((await run('id', ['-u', user])).stdout);
}

// curl as another user, over the socket.
async function askAs(user, hub, method, path) {
  const words = ['--reuid', user, '--clear-groups', '--regid', 'nogroup', 'curl', '-sS', '-w', '\n%{http_code}', '--unix-socket', hub.socket, '-X', method, `http://localhost${path}`];
  const { stdout } = await run('setpriv', words);
  const at = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(at + 1)), body: at > 0 ? stdout.slice(0, at) : '' };
}

const openTo = async (hub) => {
  await chmod(hub.folder, 0o755);
};

describe('the local socket', { skip: needsRoot, timeout: 60000 }, () => {
  let hub;
  before(async () => {
    hub = await Hub.start({ operators: 'daemon' }, { prepare: openTo });
    await hub.factory();
  });
  after(() => hub?.stop());

  it('is for root, and for those who are named; the kernel says who it is', async () => {
    await hub.must(201, 'POST', '/v1/models', { id: 'by-root', maker: 'x', proof: 'manifest', key_kinds: ['P-256'], lifetime_seconds: 3600, enrolled_lifetime_seconds: 300 });
    const daemon = await askAs('daemon', hub, 'DELETE', '/v1/models/by-root');
    assert.equal(daemon.status, 204, daemon.body);
    const entries = (await hub.ledger()).filter(({ subject }) => subject === 'model/by-root');
    assert.deepEqual(entries.map(({ act, actor }) => [act, actor]), [['model.create', 'local:0'], ['model.delete', `local:${await uidOf('daemon')}`]]);
  });

  it('refuses all others everything but the hub\'s health', async () => {
    const acts = await hub.acts();
    for (const { id, method, path, parameters, listeners, caller } of operations.filter((one) => one.listeners.includes('local'))) {
      const filled = path.replace(/\{(\w+)\}/g, (_, name) => parameters.find((one) => one.name === name).example);
      const { status, body } = await askAs('nobody', hub, method, filled);
      if (caller('local') === 'public') {
        assert.equal(status, 200, id);
        continue;
      }
      assert.equal(status, 403, `${id} (${listeners}): ${body}`);
      assert.equal(JSON.parse(body).code, 'operator-refused', id);
    }
    assert.equal(await hub.acts(), acts);
    assert.ok((await hub.metrics()).get('holdfast_http_requests_total{outcome="device_revoke 403"}') >= 1, 'counted');
  });

  it('refuses the command of another user, in words', async () => {
    const program = join(hub.folder, 'holdfast'); // where that user can reach it
    await copyFile(programs.cli, program);
    await chmod(program, 0o755);
    const words = ['--reuid', 'nobody', '--regid', 'nogroup', '--clear-groups', program, '--socket', hub.socket, 'device', 'list'];
    const error = await run('setpriv', words).then(() => assert.fail('it was let in'), (failed) => failed);
    assert.ok(error.code > 0);
    assert.match(error.stderr, /only root, the hub's own user and those named/);
    assert.equal(error.stdout, '');
  });

  it('lets no user take it away from the others', async () => {
    const program = `import socket, sys, time
held = []
for i in range(200):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    held.append(s)
print("held", flush=True)
time.sleep(30)`;
    const child = spawn('setpriv', ['--reuid', 'nobody', '--regid', 'nogroup', '--clear-groups', '/usr/bin/python3', '-c', program, hub.socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((done) => child.once('close', done));
    try {
      await new Promise((done) => child.stdout.once('data', done));
      for (let i = 0; i < 10; i++) assert.equal((await hub.api('GET', '/v1/models')).status, 200);
      const open = (await hub.metrics()).get('holdfast_connections{listener="local"}');
      assert.ok(open < 100, `${open} connections are held`);
      assert.ok((await hub.metrics()).get('holdfast_connections_over_address_cap_total{listener="local"}') > 50, 'counted');
    } finally {
      child.kill();
      await ended;
    }
  });

  it('is spoken to in HTTP as strict as elsewhere', async () => {
    for (const bytes of ['GET /v1/hub HTTP/1.1\nHost: x\n\n', 'POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}', 'GET /v1/hub HTTP/1.1\r\n\r\n']) {
      const socket = net.connect(hub.socket);
      const wire = new Wire(socket);
      wire.send(bytes);
      assert.equal((await wire.answer()).status, 400);
      assert.ok(await wire.endsWithin(2000));
    }
  });

  it('does not start for operators that nobody knows', async () => {
    await assert.rejects(Hub.start({ operators: 'no-such-user' }), /there is no user 'no-such-user'/);
  });
});

describe('long work', { timeout: 120000 }, () => {
  let hub;
  const ROWS = 20000;
  before(async () => {
    hub = await Hub.start();
    await mkdir(join(hub.folder, 'cli'));
    await holdfast(['--socket', hub.socket, 'model', 'create', 'thermo', '--maker', 'acme']);
  });
  after(() => hub.stop());
  const at = (name) => join(hub.folder, 'cli', name);

  it(`takes ${ROWS} rows in, shows how far it is on a terminal, and hands out each code once`, async (t) => {
    await writeFile(at('many.csv'), `serial,claim\n${Array.from({ length: ROWS }, (_, i) => `m-${i},yes\n`).join('')}`);
    const command = [programs.cli, '--socket', hub.socket, 'manifest', 'import', 'many', at('many.csv'), '--create', '--model', 'thermo', '--owner', 'o', '--claims-out', at('codes')].join(' ');
    const start = performance.now();
    const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (data) => (said += data));
    assert.equal(await new Promise((done) => child.once('close', done)), 0, said);
    t.diagnostic(`${Math.round(performance.now() - start)} ms`);
    const steps = [...said.matchAll(/(\d[\d,]*) (?:of|\/) ?20,?000/g)].map(([, n]) => Number(n.replaceAll(',', '')));
    assert.ok(steps.length >= 2, `it tells how far it is: ${JSON.stringify(said.slice(0, 300))}`);
    assert.deepEqual(steps, [...steps].sort((a, b) => a - b));
    assert.equal((await hub.must(200, 'GET', '/v1/manifests/many')).devices, ROWS);
    const codes = lines(await readFile(at('codes'), 'utf8')).slice(1).map((line) => line.split(','));
    assert.equal(new Set(codes.map(([serial]) => serial)).size, ROWS);
    assert.equal(new Set(codes.map(([, code]) => code)).size, ROWS);
    assert.equal((await stat(at('codes'))).mode & 0o777, 0o600);
    const [serial, code] = codes[12345];
    const key = await newKey(at('one.key'));
    assert.equal((await enrol(hub, serial, code, await csrBody(key, `/CN=${serial}`))).status, 200, 'and they work');
  });

  it('lets a cut through at once meanwhile', async (t) => {
    await hub.must(201, 'POST', '/v1/manifests', { id: 'batch', model: 'thermo', owner: 'o' });
    const serials = Array.from({ length: 20 }, (_, i) => `cut-${i}`);
    await hub.claims(...serials);
    await writeFile(at('more.csv'), `serial,claim\n${Array.from({ length: ROWS }, (_, i) => `n-${i},yes\n`).join('')}`);
    const importing = holdfast(['--socket', hub.socket, 'manifest', 'import', 'more', at('more.csv'), '--create', '--model', 'thermo', '--owner', 'o', '--claims-out', at('more.codes')]);
    let over = false;
    importing.then(() => (over = true));
    await until('it has begun', async () => (await hub.api('GET', '/v1/manifests/more')).body.devices > 0);
    const times = [];
    for (const serial of serials) {
      if (over) break;
      const start = performance.now();
      await hub.must(200, 'POST', `/v1/devices/${serial}/revoke`, { reason: 'now' });
      times.push(performance.now() - start);
      await sleep(20);
    }
    assert.equal((await importing).code, 0);
    times.sort((a, b) => a - b);
    t.diagnostic(`${times.length} revocations during the import: median ${times[times.length >> 1]?.toFixed(1)} ms, longest ${times.at(-1)?.toFixed(1)} ms`);
    assert.ok(times.length > 0 && times.at(-1) < 2000);
  });

  it('takes JSON lines, too, and names the lines that are not right', async () => {
    const good = Array.from({ length: 3000 }, (_, i) => JSON.stringify({ serial: `j-${i}`, claim: { expires_at: '2099-01-01T00:00:00Z' } }));
    const wrong = { '{"serial":"x"}': /line 3001: /, '{"serial":"x","claim":{}}': /line 3001: /, '{"serial":"x","unknown":1}': /line 3001: /, 'not JSON': /line 3001: /, '{"serial":"j-5","claim":{"expires_at":"2099-01-01T00:00:00Z"}}': /line 3001: serial j-5 stands in line 6 already/ };
    for (const [line, message] of Object.entries(wrong)) {
      await writeFile(at('wrong.jsonl'), [...good, line].join('\n'));
      const { code, stderr } = await holdfast(['--socket', hub.socket, 'manifest', 'import', 'lines', at('wrong.jsonl'), '--create', '--model', 'thermo', '--owner', 'o', '--claims-out', at('wrong.codes')]);
      assert.equal(code, 1, line);
      assert.match(stderr, message, line);
    }
    await writeFile(at('good.jsonl'), `${good.join('\n')}\n`);
    const { code, stderr } = await holdfast(['--socket', hub.socket, 'manifest', 'import', 'lines', at('good.jsonl'), '--create', '--model', 'thermo', '--owner', 'o', '--claims-out', at('good.codes')]);
    assert.equal(code, 0, stderr);
    assert.equal((await hub.must(200, 'GET', '/v1/manifests/lines')).devices, 3000);
  });

  it('has completion that bash can read', async () => {
    const { code, stdout } = await holdfast(['completion', 'bash']);
    assert.equal(code, 0);
    await writeFile(at('completion'), stdout);
    await run('bash', ['-n', at('completion')]);
    const { stdout: zsh } = await holdfast(['completion', 'zsh']);
    assert.match(zsh, /^#compdef holdfast/);
  });
});
