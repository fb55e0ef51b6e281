// The power goes at every storage operation of the real agent, and the disk forgets what was not
// flushed (powercut.c): what is left is always one usable identity, after some more starts.
import assert from 'node:assert/strict';
import { X509Certificate, createHash, randomInt } from 'node:crypto';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { access, readFile, rename, rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { join } from 'node:path';
import { Hub, programs, until } from './lib/hub.mjs';
import { Agent } from './lib/agent.mjs';
import { fingerprint } from './lib/csr.mjs';

const FULL = Boolean(process.env.HOLDFAST_FULL);
const SEED = Number(process.env.SEED ?? randomInt(2 ** 31));
const withoutLogPath = (options = '') => options.split(':').filter((one) => one && !one.startsWith('log_')).map((one) => `${one}:`).join('');
const exists = (path) => access(path).then(() => true, () => false);

describe('an agent that loses power', { timeout: FULL ? 900000 : 150000 }, () => {
  let hub;
  before(async () => {
    assert.ok(await exists(programs.powercut), `${programs.powercut} is built`);
    hub = await Hub.start({ 'enrolment-per-minute': '1000000', 'connections-per-address': '1000' });
    await hub.factory();
  });
  after(() => hub?.stop());

  const cut = (agent, at, seed) => ({
    LD_PRELOAD: programs.powercut,
    POWERCUT_DIR: agent.folder,
    POWERCUT_OUT: `${agent.folder}.after`,
    POWERCUT_AT: String(at),
    POWERCUT_SEED: String(seed),
    // The library comes before the sanitizer's own, as it should; reports go to the agent's log, for
    // a file of their own would be opened before the library is ready.
    ASAN_OPTIONS: `${withoutLogPath(process.env.ASAN_OPTIONS)}verify_asan_link_order=0`,
    UBSAN_OPTIONS: withoutLogPath(process.env.UBSAN_OPTIONS),
  });
  // What the disk shows at the next start.
  const restart = async (agent) => {
    await rm(agent.folder, { recursive: true });
    await rename(`${agent.folder}.after`, agent.folder);
  };
  const was = (how) => {
    assert.ok(how.signal === 'SIGKILL' || how.code !== null, JSON.stringify(how));
    return how.signal === 'SIGKILL';
  };
  // Ends well, with one certificate, its key, and no other that the hub would take.
  const isWhole = async (agent, what) => {
    agent.log += `--- ${what}: now without a cut\n`;
    const how = await agent.once();
    assert.equal(how.code, 0, `${what}\n${agent.log}`);
    assert.doesNotMatch(agent.log, /device\.(refused|certificate_rejected|storage_failed)|Sanitizer|runtime error/, what);
    // What was being written when the power went may lie there under a name that nobody reads.
    const files = (await agent.files()).filter((name) => !name.endsWith('.new'));
    const [keys, certificates] = ['key-', 'certificate-'].map((prefix) => files.filter((name) => name.startsWith(prefix)));
    assert.equal(certificates.length, 1, `${what}: ${files}`);
    // A key that was made for a renewal that did not come to anything has no certificate, and gives
    // way to the next renewal's.
    assert.ok(keys.includes(certificates[0].replace('certificate', 'key')) && keys.length <= 2, `${what}: ${files}`);
    const held = fingerprint(new X509Certificate(await readFile(join(agent.state, certificates[0]))));
    const known = (await hub.must(200, 'GET', `/v1/devices/${agent.serial}/certificates`)).certificates;
    const usable = known.filter(({ status }) => status === 'active' || status === 'issued');
    assert.deepEqual(usable.map(({ sha256 }) => sha256), [held], `${what}: one usable identity`);
    assert.equal((await hub.must(200, 'GET', `/v1/devices/${agent.serial}`)).state, 'trusted');
    assert.ok(!await exists(join(agent.folder, 'claim')), `${what}: the claim code is gone`);
  };

  let prepared = [];
  const next = async () => {
    if (prepared.length === 0) {
      const from = next.made ?? 0;
      next.made = from + 200;
      prepared = Object.entries(await hub.claims(...Array.from({ length: 200 }, (_, i) => `power-${from + i}`)));
    }
    const [serial, code] = prepared.pop();
    return Agent.make(hub, serial, { code, config: { 'log-level': 'notice' } });
  };
  // Runs the trials two at a time; each gives true where the power went before the end.
  const forEach = async (trials, run) => {
    const left = trials.map((trial, i) => ({ trial, i }));
    await Promise.all([0, 1].map(async () => {
      for (let one; (one = left.shift()) !== undefined;) await run(one.trial, one.i);
    }));
  };

  it('is cut by a layer that catches a careless program and spares a careful one', async () => {
    await promisify(execFile)(programs.powercutSelftest, [programs.powercut]);
  });

  let operations; // of an enrolment, from nothing to the first check-in
  it('is enrolled once, wherever the power goes while it enrols', async (t) => {
    const whole = await next();
    for (operations = 0; ; operations++) {
      const agent = await next();
      const cutShort = was(await agent.once({ env: cut(agent, operations + 1, 1) }));
      await agent.remove();
      await rm(`${agent.folder}.after`, { recursive: true, force: true });
      if (!cutShort) break;
    }
    await isWhole(whole, 'no cut');
    assert.ok(operations > 15, `${operations} operations`);
    const seeds = FULL ? 40 : 3;
    const trials = Array.from({ length: (operations + 1) * seeds }, (_, i) => ({ at: i % (operations + 1) + 1, seed: SEED + i }));
    await forEach(trials, async ({ at, seed }) => {
      const agent = await next();
      const what = `POWERCUT_AT=${at} POWERCUT_SEED=${seed}`;
      const killed = was(await agent.once({ env: cut(agent, at, seed) }));
      assert.ok(killed || at >= operations - 2, `${what}: the operations are the same each time`);
      await restart(agent);
      await isWhole(agent, what);
      await agent.remove();
    });
    t.diagnostic(`SEED=${SEED}: ${operations} operations, ${trials.length} trials`);
  });

  it('is enrolled once, also where the power goes again and again', async (t) => {
    const trials = Array.from({ length: FULL ? 300 : 20 }, (_, i) => SEED + 100000 + i);
    let cuts = 0;
    await forEach(trials, async (seed) => {
      const agent = await next();
      const random = (n, below) => createHash('sha256').update(`${seed}/${n}`).digest().readUInt32BE() % below;
      let what = `seed ${seed}:`;
      for (let n = 0; n < 6; n++) {
        const at = 1 + random(n, operations);
        what += ` ${at}`;
        if (was(await agent.once({ env: cut(agent, at, seed + n) }))) cuts++;
        await restart(agent);
      }
      await isWhole(agent, what);
      await agent.remove();
    });
    t.diagnostic(`SEED=${SEED}: ${trials.length} devices, ${cuts} cuts`);
  });

  it('has one identity, wherever the power goes while it renews', async (t) => {
    // One device after the other renews at each start, so that the cut comes at every operation of it.
    const renew = async (agent, at, seed) => {
      agent.log = '';
      agent.start({ env: cut(agent, at, seed) });
      const child = agent.process;
      const waiting = async (event) => {
        await until(`${event} or the cut\n${agent.log}`, () => child.isEnded || agent.events(event).length > 0, 15000).catch((error) => {
          throw new Error(`POWERCUT_AT=${at} POWERCUT_SEED=${seed}: ${error.message}\n${agent.log}`);
        });
        return !child.isEnded;
      };
      if (await waiting('device.checked_in') && child.kill('SIGUSR1') && await waiting('device.key_retired')) child.kill('SIGTERM');
      const how = await child.ended;
      delete agent.process;
      return was(how);
    };
    const seeds = FULL ? 12 : 2;
    let trials = 0;
    let most = 0;
    await forEach(Array.from({ length: seeds }, (_, i) => SEED + 200000 + 1000 * i), async (seed) => {
      const agent = await next();
      agent.config['log-level'] = 'debug';
      await agent.configure();
      await isWhole(agent, 'before');
      for (let at = 1; at < 300; at++) {
        const killed = await renew(agent, at, seed + at);
        trials++;
        await restart(agent);
        await isWhole(agent, `renewal, POWERCUT_AT=${at} POWERCUT_SEED=${seed + at}`);
        most = Math.max(most, at);
        if (!killed) break;
      }
      assert.equal((await agent.files()).filter((name) => name.startsWith('key-')).length, 1, 'after a renewal that came to its end there is one key');
      await agent.remove();
    });
    assert.ok(most > 15, `${most} operations`);
    t.diagnostic(`SEED=${SEED}: ${most - 1} operations, ${trials} trials`);
  });

  it('has enrolled each device once, as the ledger tells', async () => {
    const subjects = (await hub.ledger()).filter(({ act }) => act === 'device.enrol').map(({ subject }) => subject);
    assert.equal(new Set(subjects).size, subjects.length);
  });
});
