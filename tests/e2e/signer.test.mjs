// The process with the keys: what code that runs as the hub's user can and cannot do to it, and what it
// refuses to sign.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { chmod, chown, cp, mkdir, readFile, readdir, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, as, curl, enrolledDevice, sleep, until } from './lib/hub.mjs';
import { connect } from './lib/wire.mjs';
import { readCheckpoint, readKey, treeHash, verifyLog } from './lib/tlog.mjs';

const run = promisify(execFile);
const LATER = '2099-01-01T00:00:00Z';
const isRoot = process.getuid() === 0;
const needsRoot = isRoot ? false : 'SKIPPED: run as root to see that the hub and its signer are two users';
if (!isRoot) console.error(needsRoot);

const HUB_USER = 'nobody';
const SIGNER_USER = 'daemon';

async function signerOf(hub) {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '');
    if (status.includes(`\nPPid:\t${hub.process.pid}\n`) && /^Name:\tholdfast-signer$/m.test(status)) return Number(name);
  }
  throw new Error('the hub has no signer');
}

async function statusOf(pid) {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return Object.fromEntries(text.trim().split('\n').map((line) => line.split(/:\s*/, 2)));
}

async function idsOf(user) {
  const { stdout } = await run('id', [user]);
  const [, uid, gid] = /uid=(\d+)\(.*?\) gid=(\d+)/.exec(stdout);
  return { uid: Number(uid), gid: Number(gid) };
}

// What code of that user gets when it does these things to a process: a line for each, "WHAT ok" or
// "WHAT errno". Done on a child of its own first: there, all must work.
const PROBE = `
import ctypes, errno, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = libc.process_vm_readv.restype = libc.syscall.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long] * 4

class Iovec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]

def attempt(what, action):
    try:
        action()
        print(what, 'ok')
    except OSError as error:
        print(what, errno.errorcode.get(error.errno, error.errno))

def check(value):
    if value < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return value

def read_file(path, n=1):
    with open(path, 'rb', buffering=0) as file:
        return file.read(n)

def read_memory(pid, address):
    with open('/proc/%d/mem' % pid, 'rb', buffering=0) as file:
        file.seek(address)
        return file.read(8)

def read_vm(pid, address):
    buffer = ctypes.create_string_buffer(8)
    local, remote = Iovec(ctypes.addressof(buffer), 8), Iovec(address, 8)
    check(libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))

def attach(pid):
    check(libc.ptrace(16, pid, 0, 0))  # PTRACE_ATTACH
    os.waitpid(pid, 0x40000000)        # __WALL
    check(libc.ptrace(17, pid, 0, 0))  # PTRACE_DETACH

def seize(pid):
    check(libc.ptrace(0x4206, pid, 0, 0))

def take_descriptor(pid):
    pidfd = check(libc.syscall(434, pid, 0))   # pidfd_open
    os.close(check(libc.syscall(438, pidfd, 0, 0)))  # pidfd_getfd

def probe(pid, address):
    attempt('environ', lambda: read_file('/proc/%d/environ' % pid))
    attempt('maps', lambda: read_file('/proc/%d/maps' % pid))
    attempt('descriptors', lambda: os.listdir('/proc/%d/fd' % pid))
    attempt('root', lambda: os.listdir('/proc/%d/root/' % pid))
    attempt('mem', lambda: read_memory(pid, address))
    attempt('vm', lambda: read_vm(pid, address))
    attempt('getfd', lambda: take_descriptor(pid))
    attempt('attach', lambda: attach(pid))
    attempt('seize', lambda: seize(pid))
    attempt('signal', lambda: os.kill(pid, signal.SIGTERM))
    attempt('priority', lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))

target = int(sys.argv[1])
held = ctypes.create_string_buffer(b'in sight')
if target == 0:
    ready, go = os.pipe()
    target = os.fork()
    if target == 0:
        os.close(go)
        os.read(ready, 1)
        os._exit(0)
    probe(target, ctypes.addressof(held))
    os.kill(target, signal.SIGKILL)
else:
    probe(target, int(sys.argv[2], 16))
`;

async function asUser(user, words) {
  const { uid, gid } = await idsOf(user);
  const all = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...words];
  try {
    const { stdout } = await run('setpriv', all);
    return { code: 0, stdout };
  } catch (error) {
    return { code: error.code, stdout: error.stdout, stderr: error.stderr };
  }
}

const probe = async (user, pid, address = '0') => {
  const { stdout, stderr } = await asUser(user, ['/usr/bin/python3', '-c', PROBE, String(pid), address]);
  assert.ok(stdout, stderr);
  return Object.fromEntries(stdout.trim().split('\n').map((line) => line.split(' ')));
};

describe('the hub and its signer, started as root', { skip: needsRoot, timeout: 60000 }, () => {
  let hub;
  let signer;
  let users;
  before(async () => {
    users = { hub: await idsOf(HUB_USER), signer: await idsOf(SIGNER_USER) };
    const config = { user: HUB_USER, 'signer-user': SIGNER_USER, socket: 'run/hub.sock', 'ports-file': 'run/ports' };
    const prepare = async (made) => {
      await chmod(made.folder, 0o755);
      for (const name of ['run', 'store']) {
        await mkdir(join(made.folder, name), { mode: 0o755 });
        await chown(join(made.folder, name), users.hub.uid, users.hub.gid);
      }
      made.socket = join(made.folder, 'run/hub.sock');
      config.store = `sqlite:${join(made.folder, 'store/hub.db')}`;
    };
    hub = await Hub.start(config, { prepare });
    await hub.factory();
    signer = await signerOf(hub);
  });
  after(() => hub.discard());

  it('are two users, neither of them root', async () => {
    for (const [pid, { uid, gid }] of [[hub.process.pid, users.hub], [signer, users.signer]]) {
      const status = await statusOf(pid);
      assert.equal(status.Uid, Array(4).fill(uid).join('\t'));
      assert.equal(status.Gid, Array(4).fill(gid).join('\t'));
      assert.equal(status.Groups.trim(), '');
    }
  });

  it('have no capabilities, get no new ones, and are under seccomp', async () => {
    for (const pid of [hub.process.pid, signer]) {
      const status = await statusOf(pid);
      assert.equal(status.Seccomp, '2');
      assert.equal(status.NoNewPrivs, '1');
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.match(status[set], /^0+$/, set);
    }
    const { Threads } = await statusOf(signer);
    assert.equal(Threads, '1');
    for (const thread of await readdir(`/proc/${hub.process.pid}/task`)) {
      const status = await readFile(`/proc/${hub.process.pid}/task/${thread}/status`, 'utf8');
      assert.match(status, /^Seccomp:\t2$/m, 'each thread');
    }
  });

  it('share no network: the signer has one of its own, with nothing in it', async (t) => {
    const [own, other] = await Promise.all([process.pid, signer].map((pid) => readlink(`/proc/${pid}/ns/net`)));
    const { stdout } = await run('sh', ['-c', 'unshare -n true && echo yes || true']).catch(() => ({ stdout: '' }));
    if (own === other && !stdout.includes('yes')) {
      t.skip('SKIPPED: this container lets nobody make a network namespace');
      return;
    }
    assert.notEqual(own, other);
    const links = (await readFile(`/proc/${signer}/net/dev`, 'utf8')).trim().split('\n').slice(2).map((line) => line.trim().split(':')[0]);
    assert.deepEqual(links, ['lo']);
  });

  it('leave nothing open in the signer but its line to the hub and its state', async () => {
    const open = await Promise.all((await readdir(`/proc/${signer}/fd`)).map((fd) => readlink(`/proc/${signer}/fd/${fd}`)));
    const rest = open.filter((path) => !/^(socket:\[|pipe:\[|\/dev\/null$)/.test(path));
    assert.deepEqual(rest.sort(), ['ledger', 'policy'].map((name) => join(hub.state, `signer/${name}.state`)));
  });

  it('keep the keys from the hub: files', async () => {
    for (const name of ['issuing.key', 'ledger.key', 'policy.key', 'ledger.state', 'policy.state']) {
      const path = join(hub.state, 'signer', name);
      const { mode, uid } = await stat(path);
      assert.equal(mode & 0o077, 0, name);
      assert.equal(uid, users.signer.uid, name);
      const { code, stderr } = await asUser(HUB_USER, ['cat', path]);
      assert.notEqual(code, 0, name);
      assert.match(stderr, /Permission denied/);
    }
    for (const folder of ['signer', 'offline']) assert.match((await asUser(HUB_USER, ['ls', join(hub.state, folder)])).stderr, /Permission denied/);
    for (const name of ['offline/root.key', 'offline/bundle.key']) {
      const path = join(hub.state, name);
      assert.equal((await stat(path)).mode & 0o777, 0o400);
      for (const user of [HUB_USER, SIGNER_USER]) assert.match((await asUser(user, ['cat', path])).stderr, /Permission denied/);
    }
  });

  it('keep the keys from the hub: memory, descriptors, tracing, signals', async () => {
    const control = await probe(HUB_USER, 0);
    for (const what of ['mem', 'vm', 'attach', 'maps', 'environ', 'descriptors']) assert.equal(control[what], 'ok', `the probe works on a child of its own: ${what}`);
    const maps = await readFile(`/proc/${signer}/maps`, 'utf8'); // root may look, to know where
    const address = /^([0-9a-f]+)-[0-9a-f]+ rw/m.exec(maps)[1];
    const found = await probe(HUB_USER, signer, address);
    assert.deepEqual(Object.keys(found), Object.keys(control));
    for (const [what, result] of Object.entries(found)) assert.match(String(result), /^(EPERM|EACCES|ESRCH)$/, what);
    assert.equal(await signerOf(hub), signer, 'it lives');
  });

  it('keep the hub from other processes of its user, too', async () => {
    const found = await probe(HUB_USER, hub.process.pid, '0').catch((error) => assert.fail(error));
    for (const what of ['mem', 'vm', 'attach', 'seize', 'maps', 'environ', 'descriptors', 'getfd']) assert.match(found[what], /^(EPERM|EACCES|EIO)$/, what);
    // "signal" and "priority" are a user's right over its own processes; SIGTERM was sent.
    const how = await hub.ended;
    assert.equal(how.code, 0, hub.log);
    await hub.launch();
    signer = await signerOf(hub);
  });

  it('issue nonetheless', async () => {
    const device = await enrolledDevice(hub, 'through-the-line');
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
  });

  it('end together: a hub without its signer does not go on', async () => {
    process.kill(signer, 'SIGKILL');
    const how = await Promise.race([hub.ended, sleep(5000)]);
    assert.ok(how, 'it ended in time');
    assert.notEqual(how.code, 0, 'and not as if all were well');
    assert.match(hub.log, /signer\.died/);
    await hub.launch();
    signer = await signerOf(hub);
    await hub.end('SIGKILL');
    await until('the signer ends with its hub', async () => !(await statusOf(signer).catch(() => undefined)), 5000);
    await hub.launch();
    assert.equal((await curl(hub, 'operator', '/v1/health')).status, 200);
  });

  it('do not start where the keys are open to others', async (t) => {
    await hub.end();
    const path = join(hub.state, 'signer/issuing.key');
    await chmod(path, 0o444);
    try {
      await assert.rejects(hub.launch());
      assert.match(hub.log, /signer\.start/);
    } catch (error) {
      t.diagnostic('it starts with a key that others may read');
      throw error;
    } finally {
      await chmod(path, 0o400);
      if (!hub.exit) await hub.end();
    }
    await hub.launch();
  });
});

describe('a signer that is shown an older ledger', { timeout: 60000 }, () => {
  let hub;
  let key;
  let token;
  before(async () => {
    hub = await Hub.start({ 'reader-per-minute': '100000' });
    await hub.factory();
    await hub.claims('grower');
    ({ token } = await hub.must(201, 'POST', '/v1/tokens', { name: 'auditor', scopes: ['ledger'], expires_at: LATER }));
    key = readKey((await hub.must(200, 'GET', '/v1/hub')).ledger.key);
  });
  after(() => hub.discard());

  const grow = (n) => Promise.all(Array.from({ length: n }, () => hub.must(201, 'POST', '/v1/devices/grower/claim', { expires_at: LATER })));
  const size = async () => (await hub.must(200, 'GET', '/v1/hub')).ledger.size;
  const checkpoint = async () => {
    const { status, body } = await hub.api('GET', '/v1/ledger/checkpoint');
    return status === 200 ? readCheckpoint(body, key) : { status, code: body.code };
  };
  const refusals = () => hub.log.split('\n').filter((line) => / error ledger\.checkpoint_failed /.test(line));

  it('refuses to sign a smaller tree, and another one of the same size, and the hub says so', async () => {
    const old = join(hub.folder, 'old');
    await hub.end();
    await cp(join(hub.state, 'hub.db'), old);
    await hub.launch();
    const start = await size();
    await grow(20);
    await until('it is signed', async () => (await checkpoint()).size === start + 20);
    const saved = await checkpoint();
    await hub.end();

    await rm(join(hub.state, 'hub.db-wal'), { force: true });
    await rm(join(hub.state, 'hub.db-shm'), { force: true });
    await cp(old, join(hub.state, 'hub.db'));
    await assert.rejects(hub.launch(), 'nobody is served from a database that was set back');
    assert.match(hub.log, / error ledger\.roll_back .*the database was set back/);
    await hub.launch('--accept-roll-back');
    assert.match(hub.log, / warning ledger\.roll_back_accepted /);
    assert.equal(await size(), start);
    await until('the hub says that it is refused', () => refusals().length > 0, 5000);
    assert.deepEqual(await checkpoint(), { status: 404, code: 'checkpoint-not-found' });
    assert.equal((await hub.must(200, 'GET', '/v1/hub')).ledger.checkpoint_size, 0);

    // A finding about what is refused here may come in between: so up to the size that was signed.
    for (;;) {
      await grow(1);
      const now = await size();
      if (now >= saved.size - 2) break;
      await sleep(30);
      assert.equal((await checkpoint()).status, 404, `nothing is signed at ${now} of ${saved.size}`);
    }
    await hub.end(); // nor after a restart
    await assert.rejects(hub.launch());
    await hub.launch('--accept-roll-back');
    await until('refused again', () => refusals().length > 0, 5000);
    while (await size() < saved.size) await grow(1);
    if (await size() === saved.size) {
      await sleep(100);
      assert.equal((await checkpoint()).status, 404, 'the same size with another root');
    }

    // One that has grown again to that size, with other entries, does not pass for the old one.
    await hub.end();
    await assert.rejects(hub.launch());
    assert.match(hub.log, / error ledger\.roll_back .*set back/);
    await hub.launch('--accept-roll-back');

    // Grown past what was signed it is a log again, and whoever kept a checkpoint knows it for another.
    await grow(1);
    const later = await until('a larger tree', async () => {
      const found = await checkpoint();
      return found.size > saved.size ? found : undefined;
    }, 5000);
    const wire = await connect(hub, 'operator');
    const tile = async (path) => (await wire.request('GET', `/v1/ledger/tile/${path}`, { headers: { Authorization: `Bearer ${token}` } })).body;
    const { leaves } = await verifyLog(later, tile);
    wire.destroy();
    assert.ok(!treeHash(leaves.slice(0, saved.size)).equals(saved.root), 'the saved checkpoint convicts');
    await hub.restart(); // what is signed now is continued: no flag any more
    assert.doesNotMatch(hub.log, /roll_back/);
  });

  it('does not start over when its own state is damaged', async () => {
    await hub.end();
    const path = join(hub.state, 'signer/ledger.state');
    const bytes = await readFile(path);
    const broken = Buffer.from(bytes);
    broken[10] ^= 1;
    broken[4096 + 10] ^= 1;
    await writeFile(path, broken);
    await assert.rejects(hub.launch());
    assert.match(hub.log, /signer\.start/);
    await writeFile(path, bytes);
    await hub.launch();
    assert.equal((await curl(hub, 'operator', '/v1/health')).status, 200);
  });
});
