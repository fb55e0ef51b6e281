// Several hubs over one PostgreSQL: the first founds the fleet, each further one joins as its manual
// says, with keys of its own.
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, programs } from './hub.mjs';
import { Postgres } from './postgres.mjs';

const run = promisify(execFile);
const fleet = 'fleet.example';

export class Fleet {
  static async start(hubs = 2, { config = {}, options = {} } = {}) {
    const f = new Fleet();
    f.config = config;
    f.options = options;
    f.hubs = [];
    try {
      f.postgres = await Postgres.start();
      f.url = await f.postgres.database('fleet');
      f.hubs.push(await Hub.start({ store: f.url, ...config }, options));
      while (f.hubs.length < hubs) {
        const hub = await f.prepare(`hub-${f.hubs.length + 1}`);
        await f.admit(hub);
        await hub.launch();
        f.hubs.push(hub);
      }
    } catch (error) {
      await f.discard();
      throw error;
    }
    return f;
  }

  // The keys of a further hub, and the owner's card for it, which is installed there.
  async prepare(name, { chain } = {}) {
    const [first] = this.hubs;
    const hub = new Hub(await mkdtemp(join(tmpdir(), 'holdfast-e2e-')));
    hub.options = this.options;
    hub.config = { ...first.config, store: this.url, ...this.config };
    hub.request = join(hub.folder, 'request');
    hub.card = join(hub.folder, 'card');
    await mkdir(hub.state);
    await run(programs.cli, ['--state', hub.state, 'hub', 'join', name, '--fleet', fleet, '-o', hub.request]);
    const own = chain ? ['--chain', await chain(hub)] : [];
    await run(programs.cli, ['--state', first.state, 'ca', 'certify', hub.request, ...own, '-o', hub.card]);
    await run(programs.cli, ['--state', hub.state, 'hub', 'install', hub.card]);
    await copyFile(join(first.state, 'subjects.keys'), join(hub.state, 'subjects.keys'));
    return hub;
  }

  async admit(hub, at = this.hubs[0]) {
    const bundle = await at.cli('ca', 'bundle', '--install', '--from', join(this.hubs[0].state, 'bundle'));
    if (bundle.code !== 0) throw new Error(`ca bundle: ${bundle.stderr}`);
    const admitted = await at.cli('hub', 'admit', hub.card);
    if (admitted.code !== 0) throw new Error(`hub admit: ${admitted.stderr}`);
  }

  async stop() {
    const ends = await Promise.allSettled(this.hubs.map((hub) => hub.stop()));
    await this.postgres.stop();
    const bad = ends.find(({ status }) => status === 'rejected');
    if (bad) throw bad.reason;
  }

  async discard() {
    await Promise.allSettled(this.hubs.map((hub) => hub.discard()));
    await this.postgres?.stop();
  }
}
