// A hub over PostgreSQL: what it does is what it does over SQLite; and while the database is away, for
// whatever reason and in whatever moment, nothing that was acknowledged is lost, nobody waits for ever,
// and it recovers by itself.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hub, as, csrBody, curl, enrolledDevice, keepCertificate, renew, sleep, until } from './lib/hub.mjs';
import { LIMITS, Load, prepare, proven } from './lib/load.mjs';
import { Postgres } from './lib/postgres.mjs';

let postgres;
before(async () => (postgres = await Postgres.start()), { timeout: 60000 });
after(() => postgres?.stop());

let databases = 0;
async function startHub(config = {}, options = {}) {
  const store = config.store ?? (await postgres.database(`fleet_${++databases}`));
  return Hub.start({ ...LIMITS, ...config, store }, options);
}

const health = async (hub) => (await hub.api('GET', '/v1/health')).status;
const checkIn = (hub, device) =>
  as(hub, device, '/v1/device/checkin', ['-H', 'Content-Type: application/json'], '{"agent_version":"1","uptime_seconds":1}');
// By itself: nothing but this looks at it.
const recovers = (hub) => until('the hub has recovered', async () => (await health(hub)) === 200, 30000);
const times = (hub, event) => hub.log.split(` ${event}`).length - 1;

describe('a hub over PostgreSQL', { timeout: 120000 }, () => {
  it('enrols, renews, revokes and is restarted', async () => {
    const hub = await startHub();
    try {
      await hub.factory();
      const device = await enrolledDevice(hub, 'pump-1');
      const kept = await enrolledDevice(hub, 'pump-2');
      assert.equal((await checkIn(hub, device)).status, 204);
      const { store } = await hub.must(200, 'GET', '/v1/hub');
      assert.deepEqual([store.kind, store.state, store.connections_lost], ['postgresql', 'there', 0]);
      await hub.restart();
      const renewed = await renew(hub, device, await csrBody(device.key, '/CN=pump-1'));
      assert.equal(renewed.status, 200);
      await keepCertificate(renewed, device.certificate);
      assert.equal((await checkIn(hub, device)).status, 204);
      assert.equal((await hub.cli('device', 'revoke', 'pump-1', '--reason', 'stolen', '--yes')).code, 0);
      const refused = await checkIn(hub, device);
      assert.equal(refused.json.code, 'device-revoked');
      assert.equal((await checkIn(hub, kept)).status, 204);
      await proven(hub, new Map());
    } finally {
      await hub.stop();
    }
  });

  it('keeps what it acknowledged when it is killed', async (t) => {
    const hub = await startHub();
    try {
      await hub.factory();
      const enrolled = new Map();
      const left = [];
      for (let round = 0; round < 3; round++) {
        const load = new Load(hub, await prepare(hub, `killed-${round}`, 150));
        await load.atLeast(20 + 15 * round, 'it is under load');
        load.over = true;
        assert.equal((await hub.end('SIGKILL')).signal, 'SIGKILL');
        await load.stop();
        for (const [serial, sha256] of load.enrolled) enrolled.set(serial, sha256);
        left.push(...load.waiting);
        await hub.launch();
        await proven(hub, load.enrolled);
      }
      const rest = new Load(hub, left);
      await rest.clients; // who had no answer asks again, with the same key
      for (const [serial, sha256] of rest.enrolled) enrolled.set(serial, sha256);
      assert.equal(enrolled.size, 450);
      const { entries } = await proven(hub, enrolled);
      t.diagnostic(`${enrolled.size} enrolled, ${entries} entries`);
    } finally {
      await hub.stop();
    }
  });

  it('is refused by a database that is another fleet\'s', async () => {
    const hub = await startHub();
    try {
      await hub.factory();
      await assert.rejects(Hub.start({ store: hub.config.store, fleet: 'other.example' }),
                           /ledger of 'fleet\.example\/ledger', and this hub's is 'other\.example\/ledger'/);
      assert.equal((await enrolledDevice(hub, 'pump-1')).serial, 'pump-1');
    } finally {
      await hub.stop();
    }
  });
});

describe('a hub whose PostgreSQL goes away', { timeout: 300000 }, () => {
  // `outage(hub)`: away and back. Under load, and the load is answered to its end.
  async function underLoad(t, outage, devices = 600) {
    const hub = await startHub();
    try {
      await hub.factory();
      const load = new Load(hub, await prepare(hub, 'pump', devices));
      await load.atLeast(30, 'it is under load');
      await outage(hub, load);
      const back = performance.now();
      await recovers(hub);
      const ms = Math.round(performance.now() - back);
      await load.clients;
      assert.equal(load.enrolled.size, devices, 'who asked again was answered');
      const { entries } = await proven(hub, load.enrolled);
      for (const code of load.codes.keys()) assert.ok(['unavailable', 'in-doubt'].includes(code), code);
      assert.equal(times(hub, 'request.failed'), 0, 'no request is blamed');
      t.diagnostic(`healthy ${ms} ms after it was back; ${JSON.stringify(Object.fromEntries(load.codes))}, ` +
                   `slowest answer ${Math.round(load.slowest)} ms, ${entries} entries`);
      return { hub, load };
    } finally {
      await hub.stop();
    }
  }

  it('goes on where its connections were cut', async (t) => {
    await underLoad(t, async (hub) => {
      for (let i = 0; i < 5; i++) {
        await postgres.sql('postgres', "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'holdfast-hub'");
        await sleep(200);
      }
      assert.ok((await hub.metrics()).get('holdfast_store_connections_lost_total') >= 5);
    });
  });

  it('goes on after a restart, and a restart after a crash', async (t) => {
    await underLoad(t, async () => {
      for (const signal of ['SIGINT', 'SIGQUIT']) {
        await postgres.end(signal);
        await postgres.launch();
        await sleep(300);
      }
    });
  });

  it('answers 503 while it is stopped for a minute, and says so once', async (t) => {
    await underLoad(t, async (hub, load) => {
      await postgres.end();
      await until('it says that the database is away', () => times(hub, 'store.away') > 0);
      assert.equal(await health(hub), 503);
      // Nothing is queued for later: a device is told at once, and when to come back.
      const [{ serial, code, body }] = load.waiting;
      const began = performance.now();
      const answer = await curl(hub, 'bootstrap', '/.well-known/est/simpleenroll',
                                ['-u', `${serial}:${code}`, '-H', 'Content-Type: application/pkcs10'], body);
      assert.equal(answer.status, 503);
      assert.equal(answer.json.code, 'unavailable');
      assert.ok(Number(answer.headers['retry-after']) > 0);
      assert.ok(performance.now() - began < 10000);
      const refused = await hub.api('POST', '/v1/manifests/batch/devices', { rows: [{ serial: 'late', claim: { expires_at: '2099-01-01T00:00:00Z' } }] });
      assert.deepEqual([refused.status, refused.body.code], [503, 'unavailable']);
      assert.equal((await hub.metrics()).get('holdfast_store_away'), 1);
      assert.equal((await hub.must(200, 'GET', '/v1/hub')).store.state, 'away');
      await sleep(60000);
      assert.equal(await health(hub), 503);
      await postgres.launch();
      await until('it says that the database is back', () => times(hub, 'store.back') > 0);
      assert.deepEqual([times(hub, 'store.away'), times(hub, 'store.back')], [1, 1]);
      assert.equal((await hub.metrics()).get('holdfast_store_away'), 0);
    });
  });

  it('keeps answering while it hangs', async (t) => {
    await underLoad(t, async (hub, load) => {
      await postgres.freeze();
      const { enrolled } = load;
      const before = enrolled.size;
      await until('it says that the database is away', () => times(hub, 'store.away') > 0, 60000);
      assert.match(hub.log, /store\.away .*the server does not answer/);
      const began = performance.now();
      for (let i = 0; i < 50; i++) assert.equal(await health(hub), 503);
      assert.ok(performance.now() - began < 10000, 'no loop waits for it');
      assert.ok(enrolled.size <= before + 6, 'nothing is acknowledged but what was sent before');
      await sleep(1000);
      postgres.thaw();
    });
  });
});

describe('a hub that is started', { timeout: 120000 }, () => {
  it('before its PostgreSQL waits for it', async () => {
    const store = await postgres.database(`fleet_${++databases}`);
    await postgres.end();
    const starting = Hub.start({ store }, { prepare: async (hub) => (starting.hub = hub) });
    try {
      await until('it waits', () => starting.hub?.log.includes('store.waiting'));
    } finally {
      await postgres.launch();
    }
    const hub = await starting;
    try {
      assert.match(hub.log, /store\.waiting .*can't connect to the database/);
      assert.equal(times(hub, 'store.came'), 1);
      await hub.factory();
      // And is not in the way of who changes their mind.
      await hub.end();
      await postgres.end();
      const again = hub.launch();
      await until('it waits', () => !hub.exit && hub.log.includes('store.waiting'));
      await hub.end();
      await assert.rejects(again, /ended while it waited for the database/);
    } finally {
      await postgres.launch();
      await hub.discard();
    }
  });

  it('with a database or user that is not there says so and ends', async () => {
    const url = await postgres.database(`fleet_${++databases}`);
    const cases = [
      [url.replace(/fleet_\d+/, 'nowhere'), /database \\"nowhere\\" does not exist/],
      [url.replace('user=postgres', 'user=nobody'), /role \\"nobody\\" does not exist/],
      ['postgres:secret@host/fleet', /'postgres' is no store we know/],
    ];
    for (const [store, reason] of cases)
      await assert.rejects(Hub.start({ store }), (error) => {
        assert.match(error.message, reason);
        assert.doesNotMatch(error.message, /secret/);
        assert.match(error.message, /"code":1/);
        return true;
      });
  });
});
