// The hub's wall clock jumps (clockshift.c), in both directions and back: nobody is let in who should not
// be, nothing is lost, and with the right time everything goes on by itself.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Hub, as, enrolledDevice, programs, until } from './lib/hub.mjs';
import { Agent } from './lib/agent.mjs';

const DAY = 86400;
const LATER = 200 * DAY; // the right time here, so that a clock set back is still within the CA's life
const shift = (seconds) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(LATER + seconds));
  return bytes;
};
const withClock = (file) => ({
  LD_PRELOAD: programs.clockshift,
  CLOCKSHIFT_FILE: file,
  ASAN_OPTIONS: [process.env.ASAN_OPTIONS, 'verify_asan_link_order=0'].filter(Boolean).join(':'),
});
const count = (text, event) => text.split(` ${event} `).length - 1;

describe('a hub whose clock jumps', { timeout: 120000 }, () => {
  let hub, agent, device, clock;

  const setClock = (seconds) => writeFile(clock, shift(seconds), { flag: 'r+' }); // in place: the hub has it mapped
  // The hub's own certificate must fit its clock before a client whose clock is right can judge it.
  const jump = async (seconds) => {
    const before = count(hub.log, 'tls.renewed');
    await setClock(seconds);
    await until(`the hub has a certificate for a clock that is ${seconds} s off`, () => count(hub.log, 'tls.renewed') > before);
  };
  const checkins = () => agent.events('device.checked_in').length;
  const ledgerHolds = async () => {
    const { code, stdout, stderr } = await hub.cli('ledger', 'verify', '--local', '--key', join(hub.state, 'ledger.vkey'), '--json');
    assert.equal(code, 0, stdout + stderr);
  };

  before(async () => {
    hub = await Hub.start({ 'checkin-interval': '1s' }, {
      prepare: async (made) => {
        clock = join(made.folder, 'clock');
        await writeFile(clock, shift(0));
        made.options.env = withClock(clock);
      },
    });
    await hub.factory();
    // curl goes by the machine's clock: -k, and the hub judges the device all the same.
    const right = join(hub.folder, 'right-clock');
    await writeFile(right, shift(0));
    device = await enrolledDevice(hub, 'clock-2', { words: ['-k'] });
    const { 'clock-1': code } = await hub.claims('clock-1');
    agent = await Agent.make(hub, 'clock-1', { code });
    agent.start({ env: withClock(right) });
    await agent.saw('device.checked_in', 1);
  });
  after(async () => {
    await agent?.stop();
    await hub?.stop();
  });

  it('shows that its clock is shifted', async () => {
    await setClock(120);
    const { t: before } = (await hub.ledger()).at(-1);
    await hub.must(200, 'POST', '/v1/devices/clock-2/quarantine', { reason: 'investigation' });
    await hub.must(200, 'POST', '/v1/devices/clock-2/release', { reason: 'investigation' });
    const { t: after } = (await hub.ledger()).at(-1);
    assert.ok(Date.parse(after) - Date.parse(before) > 100000, `${before} ${after}`);
    await setClock(0);
  });

  for (const [name, seconds] of [['forward', 100 * DAY], ['back', -100 * DAY]]) {
    it(`refuses certificates that are not valid by a clock set ${name}, and takes them by the right one`, async () => {
      await jump(seconds);
      const refused = await as(hub, device, '/v1/device/self', ['-k']);
      assert.ok(refused.curl, `no answer for a certificate that is not valid now: ${refused.status}`);
      await ledgerHolds();
      await jump(0);
      assert.equal((await as(hub, device, '/v1/device/self', ['-k'])).status, 200);
      const seen = checkins();
      await until('the agent checks in again', () => checkins() > seen);
      assert.equal(agent.events('device.enrolled').length, 1, 'its identity is the one it had');
      await ledgerHolds();
    });
  }

  it('starts again with a clock set back, on a ledger with later entries', async () => {
    await setClock(-100 * DAY);
    await hub.restart();
    await ledgerHolds();
    await jump(0);
    await ledgerHolds();
    assert.equal((await as(hub, device, '/v1/device/self', ['-k'])).status, 200);
  });
});
