// A real agent for each test: its own folder below the hub's, its claim code, its log.
import { spawn } from 'node:child_process';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { programs, until } from './hub.mjs';

const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export class Agent {
  // `config`: lines that replace or extend the standard ones; undefined leaves one out. `code`: the
  // claim code, kept in the file `claim`.
  static async make(hub, serial, { code, config = {}, folder = join(hub.folder, 'agents', serial) } = {}) {
    const agent = new Agent();
    Object.assign(agent, { hub, serial, folder, state: join(folder, 'state'), log: '' });
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'bundle'), await readFile(join(hub.state, 'bundle')));
    if (code) await writeFile(join(folder, 'claim'), `${code}\n`, { mode: 0o600 });
    agent.config = {
      serial,
      'hub-bootstrap': `localhost:${hub.ports.bootstrap}`,
      'hub-device': `localhost:${hub.ports.device}`,
      'trust-bundle': 'bundle',
      state: 'state',
      'claim-file': code ? 'claim' : undefined,
      'checkin-interval': '1s',
      'retry-max': '2s',
      'log-level': 'debug',
      ...config,
    };
    await agent.configure();
    return agent;
  }

  async configure() {
    const lines = Object.entries(this.config).filter(([, value]) => value !== undefined).map(([key, value]) => `${key} = ${value}\n`);
    await writeFile(join(this.folder, 'agent.conf'), lines.join(''));
  }

  begin(words, { env = {}, prefix = [] } = {}) {
    const all = [...prefix, programs.agent, ...words, '--config', join(this.folder, 'agent.conf')];
    const child = spawn(all[0], all.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    running.add(child);
    child.output = '';
    child.stdout.setEncoding('utf8').on('data', (data) => (child.output += data));
    child.stderr.setEncoding('utf8').on('data', (data) => (this.log += data));
    child.ended = new Promise((done) => child.once('close', (code, signal) => {
      running.delete(child);
      child.isEnded = true;
      done({ code, signal, output: child.output });
    }));
    return child;
  }

  // Until stop().
  start(options) {
    this.process = this.begin([], options);
    return this;
  }

  // Does what is due, and ends: {code, signal, output}.
  once(options) {
    return this.begin(['--once'], options).ended;
  }

  key() {
    return this.begin(['key']).ended;
  }

  async stop(signal = 'SIGTERM') {
    if (!this.process) return undefined;
    if (!this.process.isEnded) this.process.kill(signal);
    const how = await this.process.ended;
    delete this.process;
    if (/ERROR: (Address|Leak)Sanitizer|runtime error:/.test(this.log)) throw new Error(`a sanitizer found something:\n${this.log.slice(-6000)}`);
    return how;
  }

  signal(name) {
    this.process.kill(name);
  }

  // The lines of one event.
  events(name) {
    return this.log.split('\n').filter((line) => line.split(' ')[2] === name);
  }

  saw(name, times = 1, ms = 15000) {
    return until(`${this.serial} logs ${times} x ${name}`, () => {
      if (this.events(name).length >= times) return this.events(name);
      if (this.process?.isEnded) throw new Error(`the agent ended:\n${this.log.slice(-3000)}`);
      return undefined;
    }, ms).catch((error) => {
      throw new Error(`${error.message}\n${this.log.slice(-3000)}`);
    });
  }

  async files() {
    return (await readdir(this.state)).sort();
  }

  async remove() {
    await this.stop('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }
}
