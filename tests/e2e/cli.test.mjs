// The holdfast command and a real hub.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, csrBody, enrol, newKey, openssl, programs, until } from './lib/hub.mjs';
import { holdfast, lines } from './lib/cli.mjs';

const run = promisify(execFile);

describe('the command and a hub', () => {
  let hub, folder;
  const cli = (...words) => holdfast(['--socket', hub.socket, '--state', hub.state, ...words]);
  const json = async (...words) => {
    const { code, stdout, stderr } = await cli('--json', ...words);
    return { code, out: stdout === '' ? undefined : JSON.parse(stdout), problem: stderr === '' ? undefined : JSON.parse(stderr) };
  };
  const must = async (...words) => {
    const { code, out, problem } = await json(...words);
    assert.equal(code, 0, JSON.stringify(problem));
    return out;
  };
  const put = async (name, text) => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };

  before(async () => {
    hub = await Hub.start();
    folder = join(hub.folder, 'cli');
    await mkdir(folder);
    await must('model', 'create', 'thermo', '--maker', 'acme');
  });
  after(() => hub.stop());

  it('makes, shows, changes and deletes models', async () => {
    await must('model', 'create', 'short', '--maker', 'm', '--proof', 'approval', '--keys', 'Ed25519,RSA',
               '--lifetime', '2h', '--enrolled-lifetime', '5m');
    const model = await must('model', 'show', 'short');
    assert.deepEqual([model.proof, model.key_kinds, model.lifetime_seconds, model.enrolled_lifetime_seconds],
                     ['approval', ['Ed25519', 'RSA'], 7200, 300]);
    assert.equal((await must('model', 'change', 'short', '--lifetime', '7d')).lifetime_seconds, 7 * 86400);
    const listed = await cli('model', 'list');
    assert.match(listed.stdout, /^MODEL +MAKER +PROOF/);
    assert.match(listed.stdout, /^short +m +approval +Ed25519, RSA +7 days +5 min/m);
    assert.equal((await json('model', 'create', 'short', '--maker', 'm')).problem.code, 'model-exists');
    assert.equal((await cli('model', 'delete', 'short')).code, 2, 'not without --yes');
    assert.equal((await cli('model', 'delete', 'short', '--yes')).code, 0);
    assert.deepEqual([(await json('model', 'show', 'short')).code, (await json('model', 'show', 'short')).problem.code],
                     [4, 'model-not-found']);
  });

  it('brings in a manifest with every kind of proof, and devices enrol with its codes', async () => {
    await mkdir(join(folder, 'certs'));
    await openssl(['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', join(folder, 'idevid.key'),
                   '-out', join(folder, 'certs', 'c.pem'), '-subj', '/CN=c', '-days', '9']);
    const file = await put('all.csv', `serial,claim,key_sha256,idevid\nk-1,,${'ab'.repeat(32)},\nc-1,yes,,\ni-1,,,certs/c.pem\nc-2,2099-01-01,,\n`);
    const codes = join(folder, 'all.codes');
    const out = await must('manifest', 'import', 'all', file, '--create', '--model', 'thermo', '--owner', 'o', '--claims-out', codes);
    assert.deepEqual([out.rows, out.added, out.present, out.claim_codes, out.complete], [4, 4, 0, 2, true]);
    assert.equal((await stat(codes)).mode & 0o777, 0o600);
    const [heading, first, second] = lines(await readFile(codes, 'utf8')).map((line) => line.split(','));
    assert.deepEqual(heading, ['serial', 'claim_code', 'expires_at']);
    assert.deepEqual([first[0], second[0], second[2]], ['c-1', 'c-2', '2099-01-01T00:00:00Z']);
    const { devices } = await must('device', 'list', '--manifest', 'all');
    assert.deepEqual(devices.map(({ id, credential }) => [id, credential]),
                     [['c-1', 'claim'], ['c-2', 'claim'], ['i-1', 'idevid'], ['k-1', 'key']]);
    const key = await newKey(join(folder, 'c-1.key'));
    assert.equal((await enrol(hub, 'c-1', first[1], await csrBody(key, '/CN=c-1'))).status, 200);
    const shown = await cli('device', 'show', 'c-1');
    assert.match(shown.stdout, /^state +trusted$/m);
    assert.match(shown.stdout, /^certificate +[0-9a-f]{32}$/m);
    assert.equal((await must('device', 'certificates', 'c-1')).certificates.length, 1);
  });

  it('refuses a file for its last line, and has sent nothing then', async () => {
    const rows = Array.from({ length: 2500 }, (_, i) => `r-${i},yes,\n`).join('');
    const heading = 'serial,claim,key_sha256\n';
    const cases = [
      ['r-7,yes,\n', /line 2502: serial r-7 stands in line 9 already/],
      [`x,,${'1'.repeat(64)}\ny,,${'1'.repeat(64)}\n`, /line 2503: its key stands in line 2502 already/],
      ['x y,yes,\n', /line 2502: serial: /],
      ['x,yes,no\n', /line 2502: key_sha256: /],
    ];
    for (const [last, message] of cases) {
      const file = await put('bad.csv', heading + rows + last);
      const { code, stderr } = await cli('manifest', 'import', 'bad', file, '--create', '--model', 'thermo', '--owner', 'o', '--claims-out', join(folder, 'bad.codes'));
      assert.equal(code, 1);
      assert.match(stderr, message);
      assert.equal((await cli('manifest', 'show', 'bad')).code, 4, 'not even the manifest');
    }
    assert.ok(!(await readdir(folder)).includes('bad.codes'));
  });

  it('takes certificates from below the file alone, and only certificates', async () => {
    const cases = [['/etc/hostname', /below the file's own folder/], ['../hub.conf', /below the file's own folder/],
                   ['certs/../../x', /below the file's own folder/], ['nothing.pem', /No such file/],
                   ['certs', /not a certificate/], ['all.csv', /not one certificate/]];
    for (const [path, message] of cases) {
      const file = await put('idevid.csv', `serial,idevid\nx,${path}\n`);
      const { code, stderr } = await cli('manifest', 'import', 'all', file);
      assert.ok(code === 1 || code === 6);
      assert.match(stderr, message);
    }
  });

  it('shows few codes, and wants a file for many', async () => {
    const few = await put('few.jsonl', '{"serial":"f-1","claim":{"expires_at":"2099-01-01T00:00:00Z"}}\n');
    const shown = await cli('manifest', 'import', 'few', few, '--create', '--model', 'thermo', '--owner', 'o');
    assert.match(shown.stdout, /^f-1,[0-9A-Z-]{26,}\n$/);
    const piped = await holdfast(['--socket', hub.socket, '--json', 'manifest', 'import', 'few', '-', '--format', 'csv'], { input: 'serial,claim\nf-2,1d\n' });
    assert.deepEqual(JSON.parse(piped.stdout).codes.map(({ serial }) => serial), ['f-2']);
    const many = await put('many.csv', 'serial,claim\n' + Array.from({ length: 1001 }, (_, i) => `m-${i},yes\n`).join(''));
    const refused = await cli('manifest', 'import', 'few', many);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /--claims-out/);
    assert.equal((await cli('manifest', 'import', 'none', many)).code, 4);
    const kept = await put('kept', 'mine');
    assert.equal((await cli('manifest', 'import', 'few', many, '--claims-out', kept)).code, 6);
    assert.equal(await readFile(kept, 'utf8'), 'mine', 'never overwritten');
    const taken = await cli('manifest', 'import', 'few', few, '--claims-out', join(folder, 'unused'));
    assert.equal(taken.code, 1);
    assert.match(taken.stderr, /line 1: f-1: serial: .*--resume/);
    assert.ok(!(await readdir(folder)).includes('unused'), 'no empty file stays');
  });

  it('resumes: every device once, every code in the file', async () => {
    const all = Array.from({ length: 3200 }, (_, i) => (i % 2 ? `q-${i},yes,\n` : `q-${i},,${createHash('sha256').update(`q${i}`).digest('hex')}\n`));
    const heading = 'serial,claim,key_sha256\n';
    const codes = join(folder, 'resume.codes');
    const words = ['--create', '--model', 'thermo', '--owner', 'o', '--claims-out', codes];
    await must('manifest', 'import', 'res', await put('part.csv', heading + all.slice(0, 1500).join('')), ...words);
    // as after a power cut: codes that the hub made and that did not get here, and half a line
    const written = lines(await readFile(codes, 'utf8'));
    await writeFile(codes, [...written.slice(0, -200), 'q-1,HALF'].join('\n'), { mode: 0o600 });
    const out = await must('manifest', 'import', 'res', await put('whole.csv', heading + all.join('')), ...words, '--resume');
    assert.deepEqual([out.added, out.present, out.claim_codes], [1700, 1500, 850 + 200]);
    const serials = lines(await readFile(codes, 'utf8')).slice(1).map((line) => line.split(',')[0]);
    assert.deepEqual(new Set(serials).size, 1600);
    assert.equal(serials.length, 1600);
    const again = await must('manifest', 'import', 'res', join(folder, 'whole.csv'), ...words, '--resume');
    assert.deepEqual([again.added, again.present, again.claim_codes], [0, 3200, 0]);
    const other = await put('other.csv', `${heading}q-0,yes,\n`);
    assert.match((await cli('manifest', 'import', 'res', other, '--resume')).stderr, /line 2: q-0 .* another way/);
    assert.equal((await must('device', 'list', '--manifest', 'res', '--all')).devices.length, 3200, 'in pages');
    assert.deepEqual(Object.keys(await must('device', 'list', '--manifest', 'res', '-n', '3')), ['devices', 'next']);
  });

  it('cuts devices off only when it is told twice, and all that are named or none', async () => {
    const words = ['device', 'revoke', 'c-1', 'nobody', 'c-2', '--reason', 'lost "it"'];
    assert.equal((await cli(...words)).code, 2);
    assert.equal((await must('device', 'show', 'c-1')).state, 'trusted');
    const refused = await cli(...words, '--yes');
    assert.equal(refused.code, 4);
    assert.match(refused.stderr, /there is no device 'nobody'/);
    assert.equal((await must('device', 'show', 'c-1')).state, 'trusted');
    const { code, out } = await json(...words.filter((word) => word !== 'nobody'), '--yes');
    assert.equal(code, 0);
    assert.deepEqual(out.results.map(({ id, state }) => [id, state]), [['c-1', 'revoked'], ['c-2', 'revoked']]);
    assert.deepEqual([out.status, out.legs.map(({ leg, status, devices }) => [leg, status, devices])], ['complete', [['api/1', 'confirmed', 2]]]);
    const again = await cli('device', 'release', 'c-1', '--reason', 'x');
    assert.deepEqual([again.code, /'c-1' is revoked/.test(again.stderr)], [1, true]);
    assert.equal((await cli('device', 'revoke', 'c-1', '--yes')).code, 2, 'a reason is needed');
    assert.equal((await cli('device', 'approve', 'c-1', '--reason', 'x'.repeat(201))).code, 2);
    assert.equal((await cli('device', 'show', '../hub')).code, 2);
    assert.equal((await must('device', 'list', '--state', 'revoked')).devices.length, 2);
  });

  it('asks on a terminal', async (t) => {
    const ask = async (answer) => {
      const command = `${programs.cli} --socket ${hub.socket} device retire i-1 --reason old`;
      const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
      let said = '';
      child.stdout.setEncoding('utf8').on('data', (data) => (said += data));
      const ended = new Promise((done) => child.on('close', done));
      await until('it asks', () => said.includes('[y/N]'));
      child.stdin.write(`${answer}\n`);
      const code = await ended;
      child.stdin.end();
      return { code, said };
    };
    try {
      await run('script', ['--version']);
    } catch {
      t.skip('there is no script(1)');
      return;
    }
    assert.equal((await ask('no')).code, 8);
    assert.equal((await must('device', 'show', 'i-1')).state, 'expected');
    assert.equal((await ask('y')).code, 0);
    assert.equal((await must('device', 'show', 'i-1')).state, 'retired');
  });

  it('reads the ledger', async () => {
    const tail = await cli('--json', 'ledger', 'tail', '-n', '3');
    assert.equal(lines(tail.stdout).length, 3);
    const last = JSON.parse(lines(tail.stdout)[2]);
    assert.equal((await must('ledger', 'show', String(last.number))).entry.n, last.entry.n);
    assert.equal((await cli('ledger', 'show', '999999')).code, 4);
    const found = await cli('--json', 'ledger', 'search', '--act', 'device.revoke', '--since', '1h');
    assert.deepEqual(lines(found.stdout).map((line) => JSON.parse(line).entry.subject), ['device/c-2', 'device/c-1']);
    assert.equal(lines((await cli('ledger', 'search', 'LOST', '-n', '1')).stdout).length, 1);
    assert.equal((await cli('ledger', 'search', '--until', '1d')).stdout, '');
    assert.equal((await cli('ledger', 'search', '--subject', 'model/thermo', '--actor', 'local:')).stdout.split('\n').length, 2);
    const child = spawn(programs.cli, ['--socket', hub.socket, '--json', 'ledger', 'tail', '-f', '-n', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let followed = '';
    child.stdout.setEncoding('utf8').on('data', (data) => (followed += data));
    await must('model', 'change', 'thermo', '--lifetime', '40d');
    const ended = new Promise((done) => child.on('close', done));
    await must('model', 'change', 'thermo', '--lifetime', '41d');
    await until('it shows what comes', async () => {
      if (followed.includes('model.change')) return true;
      await must('model', 'change', 'thermo', '--lifetime', `${40 + Math.floor(Math.random() * 900)}d`);
    });
    child.kill('SIGINT');
    await ended;
  });

  it('verifies the ledger over HTTPS, against what was saved', async () => {
    const key = await put('key', (await cli('ledger', 'key')).stdout);
    const saved = join(folder, 'checkpoint'), token = join(folder, 'token');
    await must('token', 'create', 'auditor', '--scope', 'ledger', '--valid', '1d', '-o', token);
    assert.equal((await stat(token)).mode & 0o777, 0o600);
    await must('ledger', 'checkpoint', '-o', saved);
    await must('model', 'change', 'thermo', '--lifetime', '30d');
    const url = `https://localhost:${hub.ports.operator}`;
    const words = (changes = {}) => {
      const all = { url, 'token-file': token, roots: hub.roots, key, saved, ...changes };
      return ['ledger', 'verify', ...Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, value]))];
    };
    const sound = await must(...words({ save: join(folder, 'next') }));
    assert.ok(sound.sound && sound.size >= sound.saved_size);
    assert.match(await readFile(join(folder, 'next'), 'utf8'), new RegExp(`^${sound.origin}\n${sound.size}\n`));
    assert.equal((await cli('ledger', 'verify', '--local', '--saved', saved)).code, 0);
    const cases = [
      [{ roots: undefined }, 5, 'server-certificate'],
      [{ url: `https://127.0.0.2:${hub.ports.operator}` }, undefined],
      [{ 'token-file': await put('wrong', 'hf~nobody') }, 1, 'token-refused'],
      [{ key: join(hub.state, 'bundle.vkey') }, 5, 'signature'],
      [{ key: undefined }, 2, 'usage'],
      [{ url: 'http://localhost:1' }, 2, 'usage'],
      [{ url: `https://user@localhost:${hub.ports.operator}` }, 2, 'usage'],
      [{ url: 'https://localhost:1' }, 3, 'unreachable'],
      [{ saved: join(folder, 'nothing') }, 6, 'file'],
      [{ saved: await put('edited', (await readFile(saved, 'utf8')).replace(/^(\d+)$/m, '7')) }, 5, 'signature'],
    ];
    for (const [changes, code, word] of cases) {
      const answer = await json(...words({ save: join(folder, 'never'), ...changes }));
      if (code === undefined) {
        assert.notEqual(answer.code, 0, JSON.stringify(changes));
        continue;
      }
      assert.deepEqual([answer.code, answer.problem?.code], [code, word], JSON.stringify([changes, answer]));
    }
    assert.ok(!(await readdir(folder)).includes('never'));
    await must('token', 'remove', 'auditor', '--yes');
    assert.equal((await json(...words())).problem.code, 'token-refused');
    assert.deepEqual(await must('token', 'list'), { tokens: [] });
  });

  it('signs and installs trust bundles, and none that is older', async () => {
    const first = (await must('device', 'bundle')).bundle;
    assert.match(first, /\nversion 1\n/);
    assert.deepEqual(await must('ca', 'bundle', '--install'), { version: 2 });
    assert.match((await cli('device', 'bundle')).stdout, /\nversion 2\n/);
    const next = join(folder, 'bundle');
    await must('ca', 'bundle', '-o', next);
    assert.equal((await must('ca', 'bundle', '--install', '--from', next)).version, 3);
    const old = await put('old', first);
    assert.deepEqual([(await json('ca', 'bundle', '--install', '--from', old)).problem.code], ['trust-bundle-not-newer']);
    const edited = await put('edited-bundle', first.replace('version 1', 'version 9'));
    assert.equal((await cli('ca', 'bundle', '--install', '--from', edited)).code, 5);
    assert.equal((await cli('ca', 'bundle', '--from', edited)).code, 2);
    const facts = await must('ca', 'show');
    assert.ok(facts.root_key_present && facts.bundle_key_present);
    assert.match((await cli('ca', 'csr')).stdout, /^-----BEGIN CERTIFICATE REQUEST-----/);
    const twice = await json('ca', 'init', '--fleet', 'fleet.example');
    assert.deepEqual([twice.code, twice.problem.code], [1, 'exists']);
  });

  it('sees what is right and what is not', async () => {
    const path = join(hub.folder, 'hub.conf');
    const env = { PATH: `${process.env.PATH}:${programs.hub.replace(/\/[^/]*$/, '')}` };
    const look = async () => {
      const { code, stdout } = await holdfast(['--json', '--config', path, 'doctor'], { env });
      const { checks } = JSON.parse(stdout);
      return { code, checks, of: (name) => checks.find(({ check }) => check === name) };
    };
    const well = await look();
    for (const name of ['configuration', 'state', 'hub', 'version', 'issuing CA', 'operators', 'trust bundle', 'checkpoint', 'store'])
      assert.equal(well.of(name).result, 'pass', JSON.stringify(well.of(name)));
    for (const name of ['root key', 'bundle key']) {
      assert.equal(well.of(name).result, 'warn');
      assert.ok(well.of(name).next.length > 0);
    }
    assert.ok(well.checks.every(({ result }) => result !== 'fail'), JSON.stringify(well.checks));
    assert.equal(well.code, well.checks.some(({ result }) => result === 'unknown') ? 7 : 0);

    const config = await readFile(path, 'utf8');
    await writeFile(path, `${config}lisen = x\n`);
    assert.equal((await look()).of('configuration').result, 'fail');
    await writeFile(path, config);
    await run('chmod', ['go+r', join(hub.state, 'signer', 'ledger.key')]);
    const open = await look();
    assert.deepEqual([open.code, open.of('state').result], [1, 'fail']);
    await run('chmod', ['go-r', join(hub.state, 'signer', 'ledger.key')]);
    await hub.end();
    const down = await look();
    assert.deepEqual([down.code, down.of('hub').result, down.of('signer').result, down.of('checkpoint').result],
                     [1, 'fail', 'unknown', 'unknown']);
    assert.equal((await json('device', 'list')).code, 3);
    assert.equal((await json('device', 'list')).problem.code, 'unreachable');
    assert.match((await cli('device', 'bundle')).stdout, /\nversion 3\n/, 'from the state folder');
    assert.match((await cli('ledger', 'key')).stdout, /^fleet\.example\/ledger\+/);
    await hub.launch();
  });

  it('completes names', async () => {
    assert.deepEqual(lines((await cli('completion', 'names', 'devices', 'c-')).stdout), ['c-1', 'c-2']);
    assert.deepEqual(lines((await cli('completion', 'names', 'devices', 'q-310')).stdout), ['q-310', ...Array.from({ length: 10 }, (_, i) => `q-310${i}`)]);
    const { stdout: script } = await cli('completion', 'bash');
    const path = await put('completion.bash', script);
    const complete = async (...words) => {
      const quoted = words.map((word) => `'${word}'`).join(' ');
      const { stdout } = await run('bash', ['-c', `compopt() { :; }; . ${path}; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _holdfast; echo "\${COMPREPLY[*]}"`],
                                   { env: { ...process.env, HOLDFAST_SOCKET: hub.socket, PATH: `${programs.cli.replace(/\/[^/]*$/, '')}:${process.env.PATH}` } });
      return stdout.trim();
    };
    assert.equal(await complete('holdfast', 'dev'), 'device');
    assert.equal(await complete('holdfast', 'device', 're'), 'release revoke retire readmit');
    assert.equal(await complete('holdfast', 'device', 'list', '--state', 'r'), 'revoked retired');
    assert.equal(await complete('holdfast', 'device', 'list', '--state', '=', 'r'), 'revoked retired');
    assert.equal(await complete('holdfast', 'device', 'revoke', 'x', '-r', 'y', 'c-'), 'c-1 c-2');
    assert.equal(await complete('holdfast', '--json', 'model', 'show', ''), 'thermo');
    assert.equal(await complete('holdfast', 'doctor', '--js'), '--json');
  });

  it('finds the hub by its configuration and its environment', async () => {
    const config = join(hub.folder, 'hub.conf');
    assert.equal((await holdfast(['--config', config, 'hub', 'health'])).stdout, 'ok\n');
    assert.equal((await holdfast(['hub', 'health'], { env: { HOLDFAST_SOCKET: hub.socket } })).stdout, 'ok\n');
    assert.equal((await holdfast(['--socket', '/nowhere', 'hub', 'health'], { env: { HOLDFAST_SOCKET: hub.socket } })).code, 3);
    assert.equal((await holdfast(['--config', '/nowhere', 'hub', 'health'], { env: { HOLDFAST_SOCKET: hub.socket } })).code, 6);
    const out = spawn('sh', ['-c', `exec ${programs.cli} --socket ${hub.socket} hub show > /dev/full`], { stdio: 'ignore' });
    assert.equal(await new Promise((done) => out.on('close', done)), 6, 'what could not be written is not done');
  });
});
