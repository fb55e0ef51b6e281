// Cuts at EMQX, by its management API: against a server that does what EMQX's description of it says.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Hub, enrolledDevice, sleep, until } from './lib/hub.mjs';
import { API_KEY, Emqx } from './lib/emqx.mjs';

const LEG = 'emqx/localhost';

describe('a cut at EMQX', { timeout: 240000 }, () => {
  let hub;
  let emqx;
  before(async () => {
    hub = await Hub.start({}, {
      prepare: async (made) => {
        emqx = await Emqx.start(made.folder);
        await writeFile(join(made.folder, 'emqx.secret'), `${API_KEY}\n`, { mode: 0o600 });
      },
    });
    await hub.factory();
    hub.config = { ...hub.config, 'hooks-emqx-url': `https://localhost:${emqx.port}`, 'hooks-emqx-key-file': 'emqx.secret', 'hooks-emqx-roots': 'emqx.pem' };
    await hub.restart();
  });
  after(async () => {
    await hub?.stop();
    await emqx?.stop();
  });

  const device = async (id) => {
    await enrolledDevice(hub, id);
    return id;
  };
  const move = (id, verb, more = {}) => hub.must(200, 'POST', `/v1/devices/${id}/${verb}`, { reason: 'a test', ...more });
  const leg = async (id) => (await hub.must(200, 'GET', `/v1/devices/${id}`)).cut?.legs.find((one) => one.leg === LEG);
  const confirmed = (id) => until(`the leg of ${id} is confirmed`, async () => {
    const one = await leg(id);
    return one?.status === 'confirmed' ? one : undefined;
  }, 60000);

  it('ends the sessions of the device, whatever stands behind its id, and of nobody else', async () => {
    await device('thermo-1');
    emqx.connect('thermo-1', 'thermo-1:telemetry', 'thermo-11', 'other-thermo-1', 'thermo-1x:y', 'thermo-1:a/b %');
    await move('thermo-1', 'quarantine');
    const one = await confirmed('thermo-1');
    assert.equal(one.detail, 'sessions ended: 3, none left');
    assert.ok(one.latency_ms >= 0);
    assert.deepEqual([...emqx.clients.keys()].sort(), ['other-thermo-1', 'thermo-11', 'thermo-1x:y']);
    assert.deepEqual([...emqx.banned.keys()], ['thermo-1']);
    const entry = (await hub.ledger()).find(({ act, subject, data }) => act === 'device.cut-leg' && subject === 'device/thermo-1' && data.leg === LEG);
    assert.equal(entry.actor, 'hub');
    assert.equal((await hub.must(200, 'GET', '/v1/devices/thermo-1')).cut.status, 'complete');
  });

  it('lets a device back in once it is released', async () => {
    await move('thermo-1', 'release');
    await until('the ban is gone', () => !emqx.banned.has('thermo-1'));
    emqx.connect('thermo-1');
    await move('thermo-1', 'revoke');
    assert.equal((await confirmed('thermo-1')).detail, 'sessions ended: 1, none left');
    assert.ok(!emqx.clients.has('thermo-1'));
  });

  it('looks past the first page', async () => {
    await device('many');
    emqx.connect(...Array.from({ length: 250 }, (_, i) => `many-${i}`), ...Array.from({ length: 230 }, (_, i) => `many:${i}`));
    await move('many', 'revoke');
    await confirmed('many');
    assert.equal([...emqx.clients.keys()].filter((id) => id.startsWith('many:')).length, 0);
    assert.equal([...emqx.clients.keys()].filter((id) => id.startsWith('many-')).length, 250);
    emqx.clients.clear();
  });

  it('believes what it sees, not what it is told', async () => {
    await device('stays');
    emqx.connect('stays');
    emqx.keeps = 3;
    await move('stays', 'revoke');
    await confirmed('stays');
    assert.equal(emqx.keeps, 0);
    assert.ok(!emqx.clients.has('stays'));
  });

  it('stays open while EMQX fails or is away, and is tried until it is done', async () => {
    await device('later');
    emqx.connect('later');
    emqx.answer = 500;
    await move('later', 'revoke');
    await until('it has tried', () => hub.log.includes('emqx.failed'));
    assert.equal((await leg('later')).status, 'open');
    assert.equal((await hub.must(200, 'GET', '/v1/devices/later')).cut.status, 'open');
    emqx.answer = undefined;
    await confirmed('later');
    await until('it says so', () => hub.log.includes('emqx.reached'));
    assert.ok(!emqx.clients.has('later'));

    await device('away');
    emqx.connect('away');
    await emqx.stop();
    await move('away', 'revoke');
    await sleep(300);
    assert.equal((await leg('away')).status, 'open');
    await emqx.listen();
    await confirmed('away');
    assert.ok(!emqx.clients.has('away'));
    const metrics = await hub.metrics();
    assert.ok([...metrics.keys()].some((name) => name.startsWith('holdfast_emqx_failures_total')));
    assert.ok(metrics.get('holdfast_emqx_sessions_ended_total') >= 1);
  });

  it('is finished by a hub that was killed in the middle of it', async () => {
    await device('killed');
    emqx.connect('killed');
    emqx.answer = 503;
    await move('killed', 'revoke');
    await hub.restart('SIGKILL');
    assert.equal((await leg('killed')).status, 'open');
    emqx.answer = undefined;
    await confirmed('killed');
    assert.ok(!emqx.clients.has('killed'));
  });

  it('never tells its key, and does not start without one', async () => {
    assert.ok(!hub.log.includes('a-secret-key') && !hub.said.includes('a-secret-key'));
    const config = hub.config;
    const cases = [
      [{ 'hooks-emqx-url': 'http://localhost:1' }, /say https:/],
      [{ 'hooks-emqx-url': 'https://localhost:1/api' }, /say https:/],
      [{ 'hooks-emqx-key-file': 'hub.conf' }, /API-KEY:SECRET-KEY is expected/],
      [{ 'hooks-emqx-key-file': 'nowhere' }, /nowhere/],
      [{ 'hooks-emqx-roots': 'nowhere' }, /nowhere/],
    ];
    await hub.end();
    for (const [lines, expected] of cases) {
      hub.config = { ...config, ...lines };
      await assert.rejects(hub.launch(), expected, JSON.stringify(lines));
    }
    hub.config = config;
    await hub.launch();
  });

  it('is no leg any more where the configuration does not name it', async () => {
    await device('without');
    for (const key of ['hooks-emqx-url', 'hooks-emqx-key-file', 'hooks-emqx-roots']) delete hub.config[key];
    await hub.restart();
    await move('without', 'revoke');
    const { cut } = await until('the cut is complete', async () => {
      const one = await hub.must(200, 'GET', '/v1/devices/without');
      return one.cut.status === 'complete' ? one : undefined;
    });
    assert.deepEqual(cut.legs.filter((one) => one.leg === LEG), []);
    assert.deepEqual((await hub.ledger()).filter(({ act }) => act.startsWith('cut-leg.')).map(({ act, subject }) => [act, subject]), [['cut-leg.add', `leg/${LEG}`], ['cut-leg.remove', `leg/${LEG}`]]);
  });
});

describe('an EMQX of one tenant', { timeout: 120000 }, () => {
  let hub, cafe, emqx;
  before(async () => {
    hub = await Hub.start({}, {
      prepare: async (made) => {
        emqx = await Emqx.start(made.folder);
        await writeFile(join(made.folder, 'emqx.secret'), `${API_KEY}\n`, { mode: 0o600 });
      },
    });
    cafe = await hub.in('cafe');
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: 'holdfast: 1\nfleet: fleet.example\nmodels: {thermo: {identity: {maker: acme}}}\ntenants: {cafe: {}}\n' });
    for (const tenant of [hub, cafe]) {
      await tenant.must(201, 'POST', '/v1/manifests', { id: 'batch', model: 'thermo', owner: 'acme' });
      await enrolledDevice(tenant, 't-1');
    }
    hub.config = { ...hub.config, 'hooks-emqx-url': `https://localhost:${emqx.port}`, 'hooks-emqx-key-file': 'emqx.secret', 'hooks-emqx-roots': 'emqx.pem' };
  });
  after(async () => {
    await hub?.stop();
    await emqx?.stop();
  });
  const cut = async (tenant) => {
    await tenant.must(200, 'POST', '/v1/devices/t-1/quarantine', { reason: 'a test' });
    return until('the cut is complete', async () => {
      const { body } = await tenant.api('GET', '/v1/devices/t-1/cut');
      return body.status === 'complete' && body.legs.map(({ leg }) => leg).sort();
    }, 60000);
  };

  it('ends sessions of its devices, and of no other\'s of that name', async () => {
    hub.config['hooks-emqx-tenant'] = 'cafe';
    await hub.restart();
    emqx.connect('t-1');
    assert.deepEqual(await cut(hub), ['api/1']);
    assert.deepEqual([...emqx.clients.keys()], ['t-1'], 'that is the other\'s');
    assert.deepEqual(await cut(cafe), ['api/1', LEG]);
    assert.deepEqual([...emqx.clients.keys()], []);
  });

  it('follows its configuration to another tenant', async () => {
    for (const tenant of [hub, cafe]) await tenant.must(200, 'POST', '/v1/devices/t-1/release', { reason: 'a test' });
    delete hub.config['hooks-emqx-tenant'];
    await hub.restart();
    emqx.connect('t-1');
    assert.deepEqual(await cut(cafe), ['api/1']);
    assert.deepEqual(await cut(hub), ['api/1', LEG]);
    assert.deepEqual([...emqx.clients.keys()], []);
  });
});
