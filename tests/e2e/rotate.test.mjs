// Rotation by command: real agents are asked to renew, and the old certificates end.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hub, until } from './lib/hub.mjs';
import { Agent } from './lib/agent.mjs';
import { holdfast } from './lib/cli.mjs';

describe('rotation', { timeout: 240000 }, () => {
  let hub;
  const agents = new Map();
  before(async () => {
    hub = await Hub.start({ 'checkin-interval': '1s', 'enrolment-per-minute': '1000000' });
    await hub.factory();
    await hub.must(201, 'POST', '/v1/models', { id: 'lamp', maker: 'acme', proof: 'manifest', key_kinds: ['P-256'], lifetime_seconds: 86400, enrolled_lifetime_seconds: 600 });
    await hub.must(201, 'POST', '/v1/manifests', { id: 'lamps', model: 'lamp', owner: 'acme' });
    // They find it there when it comes back.
    for (const name of ['device', 'bootstrap', 'operator']) hub.config[`listen-${name}`] = `127.0.0.1:${hub.ports[name]}`;
    const codes = { ...await hub.claims('t1', 't2', 't3', 't4'), ...await lamps('l1', 'l2') };
    for (const [serial, code] of Object.entries(codes)) {
      const agent = await Agent.make(hub, serial, { code });
      agents.set(serial, agent.start());
    }
    for (const agent of agents.values()) await agent.saw('device.checked_in', 1, 60000);
  });
  after(async () => {
    for (const agent of agents.values()) await agent.stop();
    await hub.stop();
  });

  const lamps = async (...serials) => {
    const rows = serials.map((serial) => ({ serial, claim: { expires_at: '2099-01-01T00:00:00Z' } }));
    const { devices } = await hub.must(201, 'POST', '/v1/manifests/lamps/devices', { rows });
    return Object.fromEntries(devices.map(({ serial, claim_code }) => [serial, claim_code]));
  };
  const cli = (...words) => holdfast(['--socket', hub.socket, ...words]);
  const json = async (...words) => {
    const { code, stdout, stderr } = await cli('--json', ...words);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const certificates = async (serial) => (await hub.must(200, 'GET', `/v1/devices/${serial}/certificates`)).certificates;
  const current = async (serial) => (await certificates(serial)).find(({ status }) => status === 'active').serial;
  const currents = async () => new Map(await Promise.all([...agents.keys()].map(async (serial) => [serial, await current(serial)])));
  const rotation = (id) => hub.must(200, 'GET', `/v1/rotations/${id}`);
  const stragglers = async (id) => (await json('rotation', 'stragglers', id, '--all')).stragglers;
  const ended = (id, ms = 90000) => until(`rotation ${id} has ended`, async () => (await rotation(id)).ended_at && rotation(id), ms);
  const everyoneChecksInAgain = () => Promise.all([...agents.values()].filter(({ process }) => process && !process.isEnded)
    .map((agent) => agent.saw('device.checked_in', agent.events('device.checked_in').length + 2, 60000)));

  // One that was just started follows a rotation at once; else no oftener than once a minute.
  const startAnew = () => Promise.all([...agents.values()].map(async (agent) => {
    await agent.stop();
    agent.log = '';
    await agent.start().saw('device.checked_in', 1, 60000);
  }));

  it('rotates one device, and retires its old certificate once the new one was used', async () => {
    const before = await currents();
    const done = await json('device', 'rotate', 't1', '--reason', 'ticket 1', '--wait');
    assert.deepEqual([done.phase, done.devices, done.renewed, done.waiting], ['complete', 1, 1, 0]);
    const [newest, old] = await certificates('t1');
    assert.equal(newest.status, 'active');
    assert.deepEqual([old.serial, old.status], [before.get('t1'), 'retired']);
    const agent = agents.get('t1');
    await agent.saw('device.rotation_asked');
    await agent.saw('device.key_retired');
    const keys = agent.events('device.key_made').map((line) => /key_sha256=(\S+)/.exec(line)[1]);
    assert.equal(new Set(keys).size, 2, 'a fresh key');
    await everyoneChecksInAgain();
    const later = await currents();
    before.set('t1', newest.serial);
    assert.deepEqual(later, before, 'it was asked once, and nobody else was');
    const entries = await hub.ledger();
    assert.equal(entries.find(({ act }) => act === 'rotation.create').data.reason, 'ticket 1');
    assert.equal(entries.find(({ act, data }) => act === 'device.confirm' && data.rotation)?.data.rotation, done.id);
  });

  it('rotates a model in a wave, each device from a moment of its own on', async () => {
    const before = await currents();
    const { id } = await json('device', 'rotate', '--model', 'lamp', '--reason', 'a batch', '--over', '8s', '--keys-touched');
    await until('they are taken in', async () => (await rotation(id)).phase !== 'selecting');
    const due = new Map((await stragglers(id)).map(({ device, due_at }) => [device, Date.parse(due_at)]));
    const done = await ended(id);
    assert.deepEqual([done.phase, done.devices, done.renewed, done.model, done.keys], ['complete', 2, 2, 'lamp', 'touched']);
    const after = await currents();
    for (const serial of agents.keys())
      assert.equal(after.get(serial) !== before.get(serial), serial.startsWith('l'), serial);
    for (const entry of await hub.ledger())
      if (entry.act === 'device.renew' && due.has(entry.subject.split('/')[1]))
        assert.ok(Date.parse(entry.t) >= due.get(entry.subject.split('/')[1]), `not before it is due: ${JSON.stringify(entry)}`);
  });

  it('rotates all, lists who is away with the reason, and is not lost with the hub', async () => {
    await startAnew();
    await agents.get('t2').stop();
    await agents.get('t3').stop();
    await hub.must(200, 'POST', '/v1/devices/t4/quarantine', { reason: 'looks odd' });
    const before = await currents();
    const { id } = await json('device', 'rotate', '--all', '--reason', 'yearly', '--over', '3s');
    await hub.restart('SIGKILL');
    await until('those that are there have renewed', async () => (await rotation(id)).renewed === 3, 90000);
    const said = new Map((await stragglers(id)).map((one) => [one.device, one]));
    assert.deepEqual([...said.keys()], ['t2', 't3', 't4']);
    await until('their time has come', async () => (await stragglers(id)).every(({ reason }) => reason !== 'not-due'));
    for (const { device, reason, state } of await stragglers(id))
      assert.deepEqual([reason, state], device === 't4' ? ['quarantined', 'quarantined'] : ['not-seen', 'trusted'], device);
    const shown = await cli('rotation', 'stragglers', id);
    assert.match(shown.stdout, /t2 +trusted .*not seen since/);
    assert.match(shown.stdout, /t4 +quarantined .*in quarantine: holdfast device release/);
    const summary = await cli('rotation', 'show', id);
    assert.match(summary.stdout, /running/);
    assert.match(summary.stdout, /renewed +3/);
    assert.match(summary.stderr, /holdfast rotation stragglers/);
    const { rotations } = await json('rotation', 'list');
    assert.equal(rotations.find((one) => one.id === id).waiting, 3);

    await hub.restart();
    agents.get('t2').start();
    await hub.must(200, 'POST', '/v1/devices/t4/release', { reason: 'it was a cable' });
    await until('those that came back have renewed', async () => (await rotation(id)).renewed === 5, 90000);
    assert.deepEqual((await stragglers(id)).map(({ device }) => device), ['t3']);
    await hub.must(200, 'POST', '/v1/devices/t3/revoke', { reason: 'lost' });
    const done = await ended(id);
    assert.deepEqual([done.phase, done.renewed, done.gone, done.waiting], ['complete', 5, 1, 0]);
    const after = await Promise.all(['t1', 't2', 't4', 'l1', 'l2'].map(async (serial) => [serial, await current(serial)]));
    for (const [serial, now] of after) {
      assert.notEqual(now, before.get(serial), serial);
      assert.equal((await certificates(serial)).filter(({ status }) => status === 'active' || status === 'issued').length, 1, serial);
    }
    agents.delete('t3');
  });

  it('asks all together no oftener than it may, and nobody after a cancel', async () => {
    hub.config['rotation-per-minute'] = '1';
    await hub.restart();
    await startAnew();
    const { id } = await json('device', 'rotate', '--owner', 'acme', '--reason', 'slowly', '--over', '0');
    await until('one was asked', async () => (await rotation(id)).renewed >= 1, 60000);
    await everyoneChecksInAgain();
    const { renewed, waiting } = await rotation(id);
    assert.ok(renewed <= 3 && waiting >= 2, `${renewed} of ${renewed + waiting} were asked at one a minute`);
    const cancelled = await json('rotation', 'cancel', id, '--reason', 'enough');
    assert.equal(cancelled.phase, 'cancelled');
    delete hub.config['rotation-per-minute'];
    await hub.restart();
    await startAnew();
    const counts = await rotation(id);
    await everyoneChecksInAgain();
    assert.deepEqual(await rotation(id), counts);
    assert.equal((await stragglers(id))[0].reason, 'cancelled');
    const again = await cli('rotation', 'cancel', id, '--reason', 'again');
    assert.equal(again.code, 1);
    assert.match(again.stderr, /is cancelled already/);
  });

  it('says what is wrong with a request', async () => {
    const cases = [
      [['device', 'rotate', '--reason', 'x'], 2, /name devices, or give filters .* or --all/],
      [['device', 'rotate', 't1', '--all', '--reason', 'x'], 2, /one of the three/],
      [['device', 'rotate', '--all'], 2, /--reason/],
      [['device', 'rotate', 't1', '--reason', 'x', '--over', 'soon'], 2, /--over must be a duration/],
      [['device', 'rotate', '--all', '--reason', 'x', '--over', '1y'], 1, /over_seconds/],
      [['device', 'rotate', 'nobody', '--reason', 'x'], 4, /there is no device 'nobody'/],
      [['device', 'rotate', '--owner', 'nobody', '--reason', 'x'], 4, /there is no owner 'nobody'/],
      [['device', 'rotate', 't3', '--reason', 'x'], 1, /'t3' is revoked: it has no certificate/],
      [['device', 'rotate', '--state', 'fine', '--reason', 'x'], 1, /state/],
      [['rotation', 'show', 'none'], 4, /there is no rotation 'none'/],
      [['rotation', 'stragglers', 'none'], 4, /there is no rotation 'none'/],
    ];
    const { length } = await hub.ledger();
    for (const [words, code, text] of cases) {
      const answer = await cli(...words);
      assert.equal(answer.code, code, `${words}: ${answer.stderr}`);
      assert.match(answer.stderr, text);
    }
    const both = await hub.api('POST', '/v1/rotations', { reason: 'x', over_seconds: 0, devices: [{ id: 't1' }], model: 'lamp' });
    assert.deepEqual([both.status, both.body.code], [400, 'rotation-both']);
    assert.equal((await hub.ledger()).length, length);
  });
});
