// The real agent against the real hub: a device's life, and those who would like to be its hub.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { access, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:tls';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, newKey, openssl, sleep, until } from './lib/hub.mjs';
import { Agent } from './lib/agent.mjs';

const run = promisify(execFile);
const exists = (path) => access(path).then(() => true, () => false);

describe('an agent', { timeout: 120000 }, () => {
  let hub;
  let agents = [];
  before(async () => {
    hub = await Hub.start({ 'checkin-interval': '1s', 'enrolment-per-minute': '1000000' });
    await hub.factory();
    // It stays at these when it comes back.
    for (const name of ['device', 'bootstrap', 'operator']) hub.config[`listen-${name}`] = `127.0.0.1:${hub.ports[name]}`;
  });
  afterEach(async () => {
    for (const agent of agents.splice(0)) await agent.stop();
  });
  after(() => hub.stop());

  const make = async (serial, options = {}, at = hub) => {
    const agent = await Agent.make(at, serial, options);
    agents.push(agent);
    return agent;
  };
  const claimed = async (serial, config) => {
    const { [serial]: code } = await hub.claims(serial);
    return make(serial, { code, config });
  };
  const device = (serial) => hub.must(200, 'GET', `/v1/devices/${serial}`);
  const certificates = async (serial) => (await hub.must(200, 'GET', `/v1/devices/${serial}/certificates`)).certificates;
  const requests = async (listener) => (await hub.must(200, 'GET', '/v1/hub')).listeners.find(({ name }) => name === listener).requests;
  const move = (verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });
  const usable = async (serial) => (await certificates(serial)).filter(({ status }) => status === 'active' || status === 'issued');

  it('enrols with its claim code, reports, checks in, and lets the code go', async () => {
    const agent = await claimed('claimed');
    agent.start();
    await agent.saw('device.enrolled');
    await agent.saw('device.reported');
    await agent.saw('device.checked_in', 2);
    assert.ok(!await exists(join(agent.folder, 'claim')), 'the claim file is gone');
    const known = await device('claimed');
    assert.equal(known.state, 'trusted');
    assert.equal(known.certificate.status, 'active');
    assert.equal(known.report.key_storage, 'file');
    assert.match(known.report.platform, /Linux/i);
    await until('its check-ins are noted', async () => (await device('claimed')).checkins >= 2, 10000);
    assert.equal((await agent.stop()).code, 0);
    assert.equal((await stat(agent.state)).mode & 0o777, 0o700);
    for (const name of await agent.files()) assert.equal((await stat(join(agent.state, name))).mode & 0o077, 0, name);
    assert.equal((await usable('claimed')).length, 1);
    assert.doesNotMatch(agent.log, /PRIVATE|[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}-/, 'no secret in its log');
  });

  it('goes on with what it has when it is started again', async () => {
    const agent = await claimed('again');
    assert.equal((await agent.once()).code, 0);
    const [{ serial }] = await certificates('again');
    agent.log = '';
    assert.equal((await agent.once()).code, 0);
    assert.equal(agent.events('device.enrolled').length, 0);
    assert.deepEqual((await certificates('again')).map((certificate) => certificate.serial), [serial]);
    agent.log = '';
    agent.start();
    await agent.saw('agent.started');
    const third = await make('again');
    third.log = '';
    assert.equal((await third.once()).code, 1, 'two agents do not share a state');
    assert.match(third.log, /another agent works with this state/);
  });

  it('enrols with a key that its manifest pins', async () => {
    const agent = await make('pinned');
    const first = await agent.key();
    assert.equal(first.code, 0);
    assert.match(first.output, /^[0-9a-f]{64}\n$/);
    assert.equal((await agent.key()).output, first.output, 'the key stays');
    await hub.must(201, 'POST', '/v1/manifests/batch/devices', { rows: [{ serial: 'pinned', key_sha256: first.output.trim() }] });
    assert.equal((await agent.once()).code, 0, agent.log);
    assert.equal((await device('pinned')).state, 'trusted');
    assert.equal((await agent.key()).code, 1, 'it has an identity: that key is not its first any more');
  });

  it('enrols with its manufacturer\'s certificate', async () => {
    const folder = join(hub.folder, 'maker');
    await mkdir(folder, { recursive: true });
    const key = await newKey(join(folder, 'idevid.key'));
    const certificate = join(folder, 'idevid.pem');
    await openssl(['req', '-x509', '-key', key, '-subj', '/O=Maker/CN=made', '-days', '9000', '-out', certificate]);
    await hub.must(201, 'POST', '/v1/manifests/batch/devices', { rows: [{ serial: 'made', idevid_pem: await readFile(certificate, 'utf8') }] });
    const agent = await make('made', { config: { 'idevid-certificate': certificate, 'idevid-key': key } });
    assert.equal((await agent.once()).code, 0, agent.log);
    assert.equal((await device('made')).state, 'trusted');
    assert.ok(await exists(key), 'the manufacturer\'s key stays');
  });

  for (const kind of ['P-384', 'Ed25519']) {
    it(`makes ${kind} keys where it is told to, renews with them, too`, async () => {
      const agent = await claimed(`kind-${kind}`, { 'key-kind': kind });
      agent.start();
      await agent.saw('device.checked_in');
      agent.signal('SIGUSR1');
      await agent.saw('device.confirmed');
      assert.equal((await usable(`kind-${kind}`)).length, 1);
    });
  }

  it('renews with a new key when it is told to, and destroys the old one', async () => {
    const agent = await claimed('renewing');
    agent.start();
    await agent.saw('device.checked_in');
    const before = (await agent.files()).filter((name) => name.startsWith('key-'));
    for (let i = 1; i <= 3; i++) {
      const { certificate } = await device('renewing');
      agent.signal('SIGUSR1');
      await agent.saw('device.renewed', i);
      await agent.saw('device.confirmed', i);
      await agent.saw('device.key_retired', i);
      await until('the hub knows', async () => (await usable('renewing')).length === 1);
      assert.notEqual((await device('renewing')).certificate.serial, certificate.serial);
    }
    assert.equal((await certificates('renewing')).filter(({ status }) => status === 'retired').length, 3);
    const keys = (await agent.files()).filter((name) => name.startsWith('key-'));
    assert.equal(keys.length, 1, `one key: ${keys} (before: ${before})`);
    const [owned] = [new Set(agent.events('device.key_made').map((line) => /key_sha256=(\S+)/.exec(line)[1]))];
    assert.equal(owned.size, 4, 'a new key each time');
  });

  it('waits for approval, with a short certificate, and goes on once it is there', async () => {
    await hub.must(201, 'POST', '/v1/models', { id: 'judged', maker: 'acme', proof: 'approval', key_kinds: ['P-256'], lifetime_seconds: 86400, enrolled_lifetime_seconds: 300 });
    await hub.must(201, 'POST', '/v1/manifests', { id: 'judged', model: 'judged', owner: 'acme' });
    const { devices } = await hub.must(201, 'POST', '/v1/manifests/judged/devices', { rows: [{ serial: 'waiting', claim: { expires_at: '2099-01-01T00:00:00Z' } }] });
    const agent = await make('waiting', { code: devices[0].claim_code });
    agent.start();
    await agent.saw('device.waiting');
    assert.equal((await device('waiting')).state, 'enrolled');
    assert.equal(agent.events('device.refused').length, 0, 'it is not refused');
    await move('approve', 'waiting');
    await agent.saw('device.checked_in');
    agent.signal('SIGUSR1');
    await agent.saw('device.confirmed');
    const { certificate } = await device('waiting');
    assert.ok(Date.parse(certificate.not_after) - Date.now() > 3600 * 1000, 'it has the full life now');
  });

  it('is quiet once it is revoked', async () => {
    const agent = await claimed('revoked');
    agent.start();
    await agent.saw('device.checked_in');
    await move('revoke', 'revoked');
    const [line] = await agent.saw('device.refused');
    assert.match(line, / error device\.refused .*code=device-revoked/);
    assert.ok(Number(/retry_ms=(\d+)/.exec(line)[1]) >= 30000, `it asks again, rarely: ${line}`);
    const [before, enrolments] = [await requests('device'), await requests('bootstrap')];
    const lines = agent.log.length;
    await sleep(2500);
    assert.equal(await requests('device'), before, 'it asks no more');
    assert.equal(await requests('bootstrap'), enrolments);
    assert.equal(agent.log.length, lines, 'nor says anything');
    assert.equal((await agent.stop()).code, 0);
    assert.equal((await agent.once()).code, 3);
    assert.equal((await device('revoked')).state, 'revoked');
  });

  it('waits in quarantine, and comes back from it', async () => {
    const agent = await claimed('suspect');
    agent.start();
    await agent.saw('device.checked_in');
    await move('quarantine', 'suspect');
    await agent.saw('device.waiting');
    await move('release', 'suspect');
    const seen = agent.events('device.checked_in').length;
    await agent.saw('device.checked_in', seen + 1);
  });

  it('is not let in with a wrong, a used or no claim code, and says so', async () => {
    await hub.claims('guessing');
    const guessing = await make('guessing', { code: '0'.repeat(26) });
    assert.equal((await guessing.once()).code, 3);
    assert.match(guessing.log, /device\.refused .*status=401 code=enrolment-refused/);
    assert.ok(await exists(join(guessing.folder, 'claim')), 'the code stays for a person to look at');
    const { twice: code } = await hub.claims('twice');
    assert.equal((await (await make('twice', { code })).once()).code, 0);
    const copy = await make('twice', { code, folder: join(hub.folder, 'agents', 'copy') });
    assert.equal((await copy.once()).code, 3);
    assert.match(copy.log, /device\.refused .*code=claim-used/);
    assert.equal((await device('twice')).state, 'trusted');
    const none = await make('none', { config: { 'claim-file': 'claim' } });
    assert.equal((await none.once()).code, 1);
    assert.match(none.log, /no claim code/);
  });

  it('goes on by itself when its hub was away', async () => {
    const agent = await claimed('patient');
    const late = await claimed('late');
    agent.start();
    await agent.saw('device.checked_in');
    await hub.end();
    late.start();
    await agent.saw('device.failed', 2);
    await late.saw('device.failed', 2);
    assert.match(agent.events('device.failed')[0], /hint="the hub could not be reached/);
    assert.ok(agent.events('device.failed').length < 8, 'it does not hammer');
    await hub.launch();
    const seen = agent.events('device.checked_in').length;
    await agent.saw('device.checked_in', seen + 1);
    await late.saw('device.enrolled');
    await late.saw('device.checked_in');
    // In the middle of a renewal as well.
    agent.signal('SIGUSR1');
    await hub.end('SIGKILL');
    await hub.launch();
    await agent.saw('device.confirmed');
    assert.equal((await usable('patient')).length, 1);
  });

  it('follows a newer trust bundle, and keeps it', async () => {
    const agent = await claimed('following');
    agent.start();
    await agent.saw('device.checked_in');
    assert.match(agent.events('agent.started')[0], /trust_bundle=1/);
    const { code, stderr } = await hub.cli('--state', hub.state, 'ca', 'bundle', '--install');
    assert.equal(code, 0, stderr);
    const [line] = await agent.saw('device.bundle_followed');
    assert.match(line, /version=2/);
    await agent.stop();
    agent.log = '';
    assert.equal((await agent.once()).code, 0, agent.log);
    assert.match(agent.events('agent.started')[0], /trust_bundle=2/, 'it is not born again');
    assert.equal(agent.events('device.bundle_followed').length, 0);
  });

  it('gives its claim code to nobody but the hub of its trust bundle', async () => {
    const other = await Hub.start();
    try {
      await other.factory();
      await other.claims('faithful');
      const { faithful: code } = await hub.claims('faithful');
      const agent = await make('faithful', { code, config: { 'hub-bootstrap': `localhost:${other.ports.bootstrap}`, 'hub-device': `localhost:${other.ports.device}` } });
      agent.start();
      await agent.saw('device.failed', 2);
      assert.match(agent.events('device.failed')[0], /did not prove that it is the hub/);
      await agent.stop();
      const { listeners } = await other.must(200, 'GET', '/v1/hub');
      for (const { name, requests: asked } of listeners.filter((one) => one.name !== 'local')) assert.equal(asked, 0, `${name} heard nothing`);
      assert.ok(await exists(join(agent.folder, 'claim')));
      // A device that is enrolled does not talk to it either.
      agent.config['hub-bootstrap'] = `localhost:${hub.ports.bootstrap}`;
      agent.config['hub-device'] = `localhost:${hub.ports.device}`;
      await agent.configure();
      assert.equal((await agent.once()).code, 0, agent.log);
      agent.config['hub-device'] = `localhost:${other.ports.device}`;
      await agent.configure();
      assert.equal((await agent.once()).code, 1);
      assert.equal((await other.must(200, 'GET', '/v1/hub')).listeners.find(({ name }) => name === 'device').requests, 0);
      // And back home all is as before.
      agent.config['hub-device'] = `localhost:${hub.ports.device}`;
      await agent.configure();
      assert.equal((await agent.once()).code, 0, agent.log);
    } finally {
      await other.stop();
    }
  });

  it('talks to no server whose certificate is expired, not yet valid, of another name, or for another use', async () => {
    const folder = join(hub.folder, 'servers');
    await mkdir(folder, { recursive: true });
    const { falling: code } = await hub.claims('falling');
    const key = await newKey(join(folder, 'server.key'));
    await openssl(['req', '-new', '-key', key, '-subj', '/CN=localhost', '-out', join(folder, 'server.csr')]);
    await writeFile(join(folder, 'ca.conf'), `[ca]\ndefault_ca=own\n[own]\nnew_certs_dir=${folder}\ndatabase=${folder}/index\nserial=${folder}/serial\ndefault_md=sha256\npolicy=any\nunique_subject=no\n[any]\ncommonName=supplied\n`);
    await writeFile(join(folder, 'serial'), '1000\n');
    await writeFile(join(folder, 'index'), '');
    const date = (ms) => new Date(Date.now() + ms).toISOString().replace(/[-:T]/g, '').slice(0, 14) + 'Z';
    const DAY = 86400e3;
    const issue = async ({ from = -DAY, to = DAY, name = 'DNS:localhost', use = 'serverAuth' }) => {
      await writeFile(join(folder, 'extensions'), `basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=${use}\nsubjectAltName=${name}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n`);
      const out = join(folder, 'server.pem');
      await openssl(['ca', '-batch', '-notext', '-config', join(folder, 'ca.conf'), '-cert', join(hub.state, 'signer/issuing.pem'), '-keyfile', join(hub.state, 'signer/issuing.key'), '-in', join(folder, 'server.csr'),
                     '-extfile', join(folder, 'extensions'), '-startdate', date(from), '-enddate', date(to), '-out', out]);
      return Buffer.concat([await readFile(out), await readFile(join(hub.state, 'signer/issuing.pem'))]);
    };
    const cases = [
      [{}, true], // to see that this way of making one works at all
      [{ to: -3600e3 }, false, /not valid at this device's time/],
      [{ from: 3600e3 }, false, /not valid at this device's time/],
      [{ name: 'DNS:elsewhere' }, false, /did not prove/],
      [{ name: 'DNS:*' }, false, /did not prove/],
      [{ name: 'IP:127.0.0.1' }, false, /did not prove/],
      [{ use: 'clientAuth' }, false, /did not prove/],
    ];
    for (const [what, good, hint] of cases) {
      let heard = '';
      const server = createServer({ key: await readFile(key), cert: await issue(what) }, (socket) => {
        socket.on('error', () => {});
        socket.on('data', (data) => {
          heard += data;
          socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
        });
      });
      server.on('tlsClientError', () => {});
      await new Promise((done) => server.listen(0, '127.0.0.1', done));
      const folderOf = join(hub.folder, 'agents', `falling-${cases.findIndex(([other]) => other === what)}`);
      const agent = await make('falling', { code, folder: folderOf, config: { 'hub-bootstrap': `localhost:${server.address().port}`, 'hub-device': `localhost:${server.address().port}` } });
      assert.equal((await agent.once()).code, 1, JSON.stringify(what));
      server.close();
      if (good) {
        assert.match(heard, /^POST \/\.well-known\/est\/simpleenroll HTTP\/1\.1\r\n/, agent.log);
        assert.match(heard, /Authorization: Basic /);
        assert.match(agent.log, /device\.failed .*status=503/);
      } else {
        assert.equal(heard, '', JSON.stringify(what));
        assert.match(agent.log, hint, JSON.stringify(what));
      }
    }
  });

  it('does not start with a trust bundle, a state or a configuration that is not right', async () => {
    const agent = await claimed('broken');
    const path = join(agent.folder, 'bundle');
    const good = await readFile(path, 'utf8');
    for (const text of ['', 'nonsense\n', good.replace(/^version \d+$/m, 'version 9'), good.replace(/\u2014 .*\n$/, '')]) {
      await writeFile(path, text);
      const { code } = await agent.once();
      assert.ok(code === 1 || code === 2, `${code}: ${JSON.stringify(text.slice(0, 40))}`);
    }
    await writeFile(path, good);
    for (const line of ['insecure = true\n', 'serial = broken\n', 'checkin-interval = soon\n', 'tls-verify = no\n', 'key-kind = RSA\n', 'hub-device = nowhere\n']) {
      await agent.configure();
      const config = await readFile(join(agent.folder, 'agent.conf'), 'utf8');
      await writeFile(join(agent.folder, 'agent.conf'), line.startsWith('key-kind') || line.startsWith('hub-device') || line.startsWith('checkin') ? config.replace(new RegExp(`^${line.split(' ')[0]} = .*\n`, 'm'), '') + line : config + line);
      assert.ok([1, 2].includes((await agent.once()).code), line);
    }
    await agent.configure();
    assert.equal((await agent.once()).code, 0, agent.log);
    // The state of one device is not that of another.
    agent.config.serial = 'other';
    await agent.configure();
    assert.equal((await agent.once()).code, 1);
    assert.match(agent.log, /another serial number/);
    assert.equal((await device('broken')).state, 'trusted');
  });

  it('loses nothing on a full disk, and goes on when there is room', async (t) => {
    if (process.getuid() !== 0 || await run('unshare', ['-m', 'true']).then(() => false, () => true)) {
      t.skip('SKIPPED: run as root, who may mount a small file system');
      return;
    }
    const agent = await claimed('small');
    await mkdir(agent.state);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=700', 'holdfast-e2e', agent.state]);
    const fill = async () => {
      const file = await open(join(agent.state, 'filler'), 'a');
      try {
        for (;;) await file.write(Buffer.alloc(4096, 1));
      } catch (error) {
        assert.equal(error.code, 'ENOSPC');
      } finally {
        await file.close();
      }
    };
    try {
      await fill();
      assert.equal((await agent.once()).code, 1);
      assert.match(agent.log, /device\.storage_failed/);
      assert.equal((await device('small')).state, 'expected', 'it does not enrol what it cannot keep');
      await rm(join(agent.state, 'filler'));
      agent.start();
      await agent.saw('device.checked_in');
      const before = await certificates('small');
      await fill();
      agent.signal('SIGUSR1');
      await agent.saw('device.storage_failed', agent.events('device.storage_failed').length + 1);
      const seen = agent.events('device.checked_in').length;
      await agent.saw('device.checked_in', seen + 1);
      assert.ok((await certificates('small')).length - before.length <= 1);
      await rm(join(agent.state, 'filler'));
      await agent.saw('device.confirmed', 1, 30000);
      await until('one identity', async () => (await usable('small')).length === 1);
    } finally {
      await agent.stop('SIGKILL');
      await run('umount', [agent.state]);
    }
  });
});
