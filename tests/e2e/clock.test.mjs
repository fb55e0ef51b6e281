// The hub's wall clock jumps (clockshift.c), in both directions and back: nobody is let in who should not
// be, nothing is lost, and with the right time everything goes on by itself.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { join } from 'node:path';
import { Clock, DAY } from './lib/clock.mjs';
import { Hub, as, enrolledDevice, until } from './lib/hub.mjs';
import { Agent } from './lib/agent.mjs';

describe('a hub whose clock jumps', { timeout: 120000 }, () => {
  let hub, agent, device, clock;

  const jump = (seconds) => clock.jump(hub, seconds);
  const checkins = () => agent.events('device.checked_in').length;
  const ledgerHolds = async () => {
    const { code, stdout, stderr } = await hub.cli('ledger', 'verify', '--local', '--key', join(hub.state, 'ledger.vkey'), '--json');
    assert.equal(code, 0, stdout + stderr);
  };

  before(async () => {
    hub = await Hub.start({ 'checkin-interval': '1s' }, {
      prepare: async (made) => {
        clock = await Clock.make(join(made.folder, 'clock'));
        made.options.env = clock.env;
      },
    });
    await hub.factory();
    // curl goes by the machine's clock: -k, and the hub judges the device all the same.
    const right = await Clock.make(join(hub.folder, 'right-clock'));
    device = await enrolledDevice(hub, 'clock-2', { words: ['-k'] });
    const { 'clock-1': code } = await hub.claims('clock-1');
    agent = await Agent.make(hub, 'clock-1', { code });
    agent.start({ env: right.env });
    await agent.saw('device.checked_in', 1);
  });
  after(async () => {
    await agent?.stop();
    await hub?.stop();
  });

  it('shows that its clock is shifted', async () => {
    await clock.set(120);
    const { t: before } = (await hub.ledger()).at(-1);
    await hub.must(200, 'POST', '/v1/devices/clock-2/quarantine', { reason: 'investigation' });
    await hub.must(200, 'POST', '/v1/devices/clock-2/release', { reason: 'investigation' });
    const { t: after } = (await hub.ledger()).at(-1);
    assert.ok(Date.parse(after) - Date.parse(before) > 100000, `${before} ${after}`);
    await clock.set(0);
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
    await clock.set(-100 * DAY);
    await hub.restart();
    await ledgerHolds();
    await jump(0);
    await ledgerHolds();
    assert.equal((await as(hub, device, '/v1/device/self', ['-k'])).status, 200);
  });
});

describe('a policy that wants certificates replaced at an age', { timeout: 120000 }, () => {
  let hub, agent, clock;
  before(async () => {
    hub = await Hub.start({ 'checkin-interval': '1s' }, {
      prepare: async (made) => {
        clock = await Clock.make(join(made.folder, 'clock'));
        made.options.env = clock.env;
      },
    });
    await hub.factory();
    const { 'old-1': code } = await hub.claims('old-1');
    agent = await Agent.make(hub, 'old-1', { code });
    agent.start({ env: clock.env });
    await agent.saw('device.checked_in', 1);
  });
  after(async () => {
    await agent?.stop();
    await hub?.stop();
  });

  const apply = (from, renewal) => hub.must(201, 'POST', '/v1/policies', { from,
    text: `holdfast: 1\nfleet: fleet.example\nmodels:\n  thermo:\n    identity: {maker: acme, lifetime: 1d, renewal: ${renewal}}\n` });
  const newest = async () => (await hub.must(200, 'GET', '/v1/devices/old-1')).certificate;

  it('asks for it at that age, once, long before two thirds of its life', async () => {
    const first = await newest();
    await apply(0, '2h');
    const seen = agent.events('device.checked_in').length;
    await agent.saw('device.checked_in', seen + 2);
    assert.deepEqual(await newest(), first, 'it is younger');
    await clock.set(2 * 3600);
    await agent.saw('device.renewed', 1);
    await agent.saw('device.confirmed', 1);
    const again = agent.events('device.checked_in').length;
    await agent.saw('device.checked_in', again + 3);
    assert.equal(agent.events('device.renewed').length, 1);
    const second = await newest();
    assert.notDeepEqual(second, first);
    assert.equal((await hub.ledger()).filter(({ act, subject }) => act === 'device.renew' && subject === 'device/old-1').length, 1);
  });
});
