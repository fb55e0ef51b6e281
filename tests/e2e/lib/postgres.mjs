// A PostgreSQL cluster of its own, from Debian's package: in a temporary folder, reached by a socket
// there, gone with stop().
import { execFile, spawn } from 'node:child_process';
import { chmod, chown, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './hub.mjs';

const run = promisify(execFile);
const versions = '/usr/lib/postgresql';
const user = 'postgres';

const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGQUIT')));

async function number(flag) {
  return Number((await run('id', [flag, user])).stdout);
}

export class Postgres {
  // `settings`: of the server, as `name=value`; `prepare(postgres)` runs once its data folder is there.
  static async start({ settings = [], port = 5432, prepare } = {}) {
    const postgres = new Postgres();
    postgres.settings = settings;
    postgres.port = port;
    postgres.folder = await mkdtemp('/tmp/holdfast-pg-'); // short: a socket's path has at most 107 bytes
    postgres.bin = join(versions, (await readdir(versions)).sort((a, b) => a - b).at(-1), 'bin');
    postgres.as = { cwd: postgres.folder };
    if (process.getuid() === 0) { // the server refuses to run as root
      postgres.as.uid = await number('-u');
      postgres.as.gid = await number('-g');
      await chown(postgres.folder, postgres.as.uid, postgres.as.gid);
      await chmod(postgres.folder, 0o755);
    }
    const words = ['-D', join(postgres.folder, 'data'), '-U', user, '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '-N'];
    await run(join(postgres.bin, 'initdb'), words, postgres.as);
    await prepare?.(postgres);
    await postgres.launch();
    return postgres;
  }

  async launch() {
    const settings = ['listen_addresses=', 'shared_buffers=16MB', 'log_min_messages=fatal', ...this.settings];
    const words = ['-D', join(this.folder, 'data'), '-k', this.folder, '-p', String(this.port),
                   ...settings.flatMap((setting) => ['-c', setting])];
    this.process = spawn(join(this.bin, 'postgres'), words, { ...this.as, stdio: 'ignore' });
    running.add(this.process);
    this.ended = new Promise((done) => this.process.once('exit', done));
    const child = this.process;
    this.ended.then(() => running.delete(child));
    await until('PostgreSQL listens', () =>
      run(join(this.bin, 'pg_isready'), ['-q', '-h', this.folder, '-p', String(this.port)]).then(() => true, () => false), 60000);
  }

  // SIGINT ends it at once, its clients cut off; SIGQUIT as a crash would.
  async end(signal = 'SIGINT') {
    this.process.kill(signal);
    return this.ended;
  }

  // As a host that has no time for it, or a network that drops everything: nothing is closed, and
  // nothing answers.
  async freeze() {
    const { pid: first } = this.process;
    process.kill(first, 'SIGSTOP');
    const children = await readFile(`/proc/${first}/task/${first}/children`, 'utf8');
    this.frozen = [first, ...children.trim().split(' ').map(Number)];
    for (const pid of this.frozen) process.kill(pid, 'SIGSTOP');
  }

  thaw() {
    for (const pid of this.frozen ?? []) process.kill(pid, 'SIGCONT');
    delete this.frozen;
  }

  async stop() {
    this.thaw();
    await this.end();
    await rm(this.folder, { recursive: true, force: true });
  }

  // What SQL answers, a row a line.
  async sql(database, text) {
    const words = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', this.folder, '-p', String(this.port), '-U', user, '-c', text, database];
    return (await run(join(this.bin, 'psql'), words)).stdout.trim();
  }

  // A new, empty database; gives its URL.
  async database(name) {
    await this.sql('postgres', `CREATE DATABASE ${name}`);
    return `postgresql:///${name}?host=${this.folder}&port=${this.port}&user=${user}`;
  }
}
