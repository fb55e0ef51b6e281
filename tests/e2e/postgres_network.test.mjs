// A hub that reaches PostgreSQL over the network, as `nobody`, with a password, by TLS: what it trusts,
// what it tells, and what its signer has of it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { chmod, chown, copyFile, mkdir, readFile, readdir, readlink, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import net from 'node:net';
import { Hub, enrolledDevice, newKey, openssl, until } from './lib/hub.mjs';
import { Postgres } from './lib/postgres.mjs';

const PASSWORD = 'correct-horse-battery';
const isRoot = process.getuid() === 0;
if (!isRoot) console.error('SKIPPED: run as root to see the hub and its signer as users of their own');

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

async function selfSigned(folder, name) {
  await newKey(join(folder, `${name}.key`));
  await openssl(['req', '-x509', '-key', join(folder, `${name}.key`), '-subj', `/CN=${name}`, '-days', '2',
                 '-addext', 'subjectAltName=DNS:localhost', '-out', join(folder, `${name}.pem`)]);
}

let postgres;
before(async () => {
  const port = await freePort();
  const prepare = async (made) => {
    const data = join(made.folder, 'data');
    for (const name of ['server', 'somebody']) await selfSigned(made.folder, name);
    for (const file of ['server.key', 'server.pem']) {
      await copyFile(join(made.folder, file), join(data, file));
      await chmod(join(data, file), 0o600);
      if (isRoot) await chown(join(data, file), made.as.uid, made.as.gid);
    }
    for (const name of ['server', 'somebody']) await chmod(join(made.folder, `${name}.pem`), 0o644);
    await writeFile(join(data, 'pg_hba.conf'), 'local all all trust\nhostssl all fleet 127.0.0.1/32 scram-sha-256\n');
  };
  postgres = await Postgres.start({
    port, prepare,
    settings: ['listen_addresses=127.0.0.1', 'ssl=on', 'ssl_cert_file=server.pem', 'ssl_key_file=server.key'],
  });
  await postgres.sql('postgres', `CREATE ROLE fleet LOGIN PASSWORD '${PASSWORD}'`);
}, { timeout: 60000 });
after(() => postgres?.stop());

// A database of the role's own, which is all the role may have, and its URL.
let databases = 0;
async function databaseUrl(passfile, { host = 'localhost', root = 'server', mode = 'verify-full' } = {}) {
  const name = `fleet_${++databases}`;
  await postgres.sql('postgres', `CREATE DATABASE ${name} OWNER fleet`);
  return `postgresql://fleet@${host}:${postgres.port}/${name}?sslmode=${mode}` +
         `&sslrootcert=${join(postgres.folder, `${root}.pem`)}&passfile=${passfile}`;
}

async function start(options = {}) {
  const config = {};
  const prepare = async (hub) => {
    const { password = PASSWORD } = options;
    const passfile = join(hub.folder, 'database.pass');
    await writeFile(passfile, `*:*:*:fleet:${password}\n`, { mode: 0o600 });
    await chmod(hub.folder, 0o755);
    await mkdir(join(hub.folder, 'run'), { mode: 0o755 });
    if (isRoot) {
      const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'nobody'])));
      await chown(join(hub.folder, 'run'), uid, gid);
      await chown(passfile, uid, gid);
      Object.assign(config, { user: 'nobody', 'signer-user': 'daemon' });
    }
    hub.socket = join(hub.folder, 'run/hub.sock');
    Object.assign(config, { socket: 'run/hub.sock', 'ports-file': 'run/ports', store: await databaseUrl(passfile, options) });
  };
  return Hub.start(config, { prepare });
}

async function processesOf(hub) {
  const found = { hub: hub.process.pid };
  for (const name of await readdir('/proc')) {
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '');
    if (status.includes(`\nPPid:\t${hub.process.pid}\n`)) found.signer = Number(name);
  }
  return found;
}

describe('a hub over the network to PostgreSQL', { timeout: 120000 }, () => {
  it('works as a user of its own, with a role that owns its database and nothing else', async () => {
    const hub = await start();
    try {
      await hub.factory();
      await enrolledDevice(hub, 'pump-1');
      const [tls, others] = (await postgres.sql('postgres', "SELECT bool_and(ssl), count(DISTINCT usename) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'holdfast-hub'")).split('|');
      assert.deepEqual([tls, others], ['t', '1']);
      // Under its sandbox it finds the server anew, by name: files of the resolver and of TLS included.
      await postgres.end();
      await postgres.launch();
      await until('it has recovered', async () => (await hub.api('GET', '/v1/health')).status === 200);
      await enrolledDevice(hub, 'pump-2');
      assert.ok(!hub.log.includes(PASSWORD));
    } finally {
      await hub.stop();
    }
  });

  it('has a signer without any network', { skip: !isRoot }, async () => {
    const hub = await start();
    try {
      const pids = await processesOf(hub);
      const spaces = await Promise.all(Object.values(pids).map((pid) => readlink(`/proc/${pid}/ns/net`)));
      assert.notEqual(spaces[0], spaces[1]);
      const sockets = async (pid) => {
        const names = await readdir(`/proc/${pid}/fd`);
        const links = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
        return links.filter((link) => link.startsWith('socket:'));
      };
      const tcp = await readFile(`/proc/${pids.hub}/net/tcp`, 'utf8');
      const toDatabase = new Set(tcp.split('\n').map((line) => line.trim().split(/\s+/))
        .filter(([, , peer]) => peer?.endsWith(`:${postgres.port.toString(16).toUpperCase().padStart(4, '0')}`))
        .map((fields) => `socket:[${fields[9]}]`));
      assert.ok((await sockets(pids.hub)).some((link) => toDatabase.has(link)), 'the hub has connections to it');
      assert.ok(!(await sockets(pids.signer)).some((link) => toDatabase.has(link)), 'the signer has none');
    } finally {
      await hub.stop();
    }
  });

  const refusals = [
    ['another certificate than the one that is trusted', { root: 'somebody' }, /certificate verify failed/],
    ['another name than the certificate\'s', { host: '127.0.0.1' }, /server certificate for .* does not match host name/],
    ['no TLS, where the server asks for it', { mode: 'disable' }, /no pg_hba.conf entry/],
    ['a wrong password', { password: 'guess-4711' }, /password authentication failed/],
  ];
  for (const [what, options, reason] of refusals)
    it(`does not start with ${what}`, async () => {
      await assert.rejects(start(options), (error) => {
        assert.match(error.message, reason);
        assert.doesNotMatch(error.message, /guess-4711|battery/);
        return true;
      });
    });
});
