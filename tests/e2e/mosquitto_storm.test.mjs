// Hundreds of devices come back to a Mosquitto at once while its hub is killed and started anew: all of them come in,
// none that was cut off does, and the hub misses none of those that came for the first time.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import net from 'node:net';
import { Hub, until } from './lib/hub.mjs';
import { certificateOf, enrolOn, newKeyPair, requestBody } from './lib/csr.mjs';
import { LIMITS } from './lib/load.mjs';
import { Mosquitto } from './lib/mosquitto.mjs';
import { connect } from './lib/wire.mjs';

const N = 300, NOT_AUTHORIZED = 135, ADMINISTRATIVE = 152, AT_A_TIME = 30;
const POLICY = `holdfast: 1
fleet: fleet.example
models:
  thermo:
    identity: {maker: acme}
    limits: {connects: 6000/min}
    publish: ["fleet/{device}/up/#"]
    subscribe: ["fleet/{device}/down/#"]
`;

const freePort = () => new Promise((done) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => done(port)); });
});

// One after the other for each of `AT_A_TIME` workers.
async function all(items, run) {
  const waiting = [...items];
  await Promise.all(Array.from({ length: AT_A_TIME }, async () => {
    for (let item; (item = waiting.shift()) !== undefined;) await run(item);
  }));
}

describe('a storm of reconnects after a hub was killed', { timeout: 240000 }, () => {
  let hub, broker, names;
  const sessions = new Map();
  before(async () => {
    hub = await Hub.start({ ...LIMITS, 'listen-device': `127.0.0.1:${await freePort()}` });
    await hub.factory();
    await hub.must(201, 'POST', '/v1/policies', { from: 0, text: POLICY });
    broker = await Mosquitto.beside(hub);
    names = Array.from({ length: N }, (_, i) => `s-${i}`);
    const codes = await hub.claims(...names);
    const wires = await Promise.all(Array.from({ length: 6 }, () => connect(hub, 'bootstrap')));
    await Promise.all(wires.map(async (wire, i) => {
      for (const name of names.filter((_, n) => n % wires.length === i)) {
        const pair = newKeyPair();
        const answer = await enrolOn(wire, name, codes[name], requestBody(pair, name), { ms: 60000 });
        assert.equal(answer.status, 200, answer.body.toString());
        broker.devices[name] = { pem: certificateOf(answer.body).toString(), keyPem: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) };
      }
      wire.destroy();
    }));
    await until('the broker knows them all', async () => (await broker.status()).position >= (await hub.acts()), 60000);
  });
  after(async () => {
    for (const client of sessions.values()) client.drop();
    await broker?.stop();
    await hub?.stop();
  });

  const enter = async (name) => {
    sessions.get(name)?.drop();
    sessions.set(name, await broker.connect(name));
  };
  const cut = (some) => hub.must(200, 'POST', '/v1/cuts', { move: 'revoke', reason: 'a test', devices: some.map((id) => ({ id })) });
  const complete = (some) => until('the cut is complete', async () => {
    for (const id of some) if ((await hub.must(200, 'GET', `/v1/devices/${id}/cut`)).status !== 'complete') return false;
    return true;
  }, 60000);

  it('brings all of them back but those that were cut, and is told to the hub to the last', async () => {
    const gone = names.slice(0, 20), next = names.slice(20, 40), early = names.slice(20, 160), good = names.slice(20);
    await cut(gone);
    await complete(gone);
    await all(early, enter);

    let over = false, tries = 0;
    const intruding = (async () => {
      for (let i = 0; !over; i = (i + 1) % gone.length, tries++)
        assert.equal(await broker.tryConnect(gone[i]), NOT_AUTHORIZED, `${gone[i]} is cut`);
    })();
    intruding.catch(() => {}); // told below
    await Promise.all([
      hub.end('SIGKILL'),
      ...early.map((name) => sessions.get(name).drop()),
    ]);
    const back = all(good, enter); // half of them for the first time, with no hub to tell
    await until('some are back without it', () => [...sessions.values()].filter(({ isClosed }) => !isClosed).length > 50, 60000);
    await hub.launch();
    await back;
    assert.equal([...sessions.values()].filter(({ isClosed }) => !isClosed).length, good.length, 'all are there');

    await cut(next); // while the hub still takes the reports in
    for (const name of next) assert.equal((await sessions.get(name).next(14, 60000))?.body[0], ADMINISTRATIVE, name);
    await complete(next);
    over = true;
    await intruding;
    assert.ok(tries > gone.length, 'each has tried');
    for (const name of next) assert.equal(await broker.tryConnect(name), NOT_AUTHORIZED);

    const told = async () => (await hub.ledger()).filter(({ act }) => act === 'broker.connect').map(({ subject }) => subject);
    await until('each first connect is an act', async () => (await told()).length >= good.length, 60000);
    assert.deepEqual((await told()).sort(), good.map((name) => `device/${name}`).sort(), 'each once');
    const left = good.length - next.length;
    assert.equal([...sessions.values()].filter(({ isClosed }) => !isClosed).length, left);
    await until('the broker says so, too', async () => (await broker.status()).sessions === left, 30000);
  });
});
