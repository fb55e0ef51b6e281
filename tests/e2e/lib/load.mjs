// Devices that enrol by the hundred, and the proof that what they were answered is what is kept.
import assert from 'node:assert/strict';
import { sleep, until } from './hub.mjs';
import { connect } from './wire.mjs';
import { certificateOf, enrolOn, fingerprint, newKeyPair, requestBody } from './csr.mjs';
import { readCheckpoint, readKey, verifyLog } from './tlog.mjs';

export const LATER = '2099-01-01T00:00:00Z';
export const LIMITS = { 'enrolment-per-minute': '1000000', 'public-per-minute': '1000000', 'reader-per-minute': '1000000' };

// Devices that are expected, each with its request and claim code.
export async function prepare(hub, prefix, n) {
  const serials = Array.from({ length: n }, (_, i) => `${prefix}-${i}`);
  const codes = await hub.claims(...serials);
  return serials.map((serial) => ({ serial, code: codes[serial], body: requestBody(newKeyPair(), serial) }));
}

export async function allDevices(hub) {
  const found = new Map();
  for (let after = '';;) {
    const page = await hub.must(200, 'GET', `/v1/devices?limit=1000${after}`);
    for (const device of page.devices) found.set(device.id, device);
    if (!page.next) return found;
    after = `&after=${page.next}`;
  }
}

// Enrols what is in `waiting` until there is no more or stop() is called. A 503, or a connection that
// breaks, is asked again later, as the agent does.
export class Load {
  constructor(hub, waiting, clients = 6) {
    this.hub = hub;
    this.waiting = waiting;
    this.enrolled = new Map(); // serial -> fingerprint of the certificate that was handed out
    this.codes = new Map(); // problem code -> how often
    this.slowest = 0; // milliseconds until an answer
    this.over = false;
    this.clients = Promise.all(Array.from({ length: clients }, () => this.client()));
    this.clients.catch(() => {}); // it is told by whoever waits for them
  }

  async client() {
    let wire;
    while (!this.over && this.waiting.length > 0) {
      const device = this.waiting.shift();
      try {
        wire ??= await connect(this.hub, 'bootstrap');
        const began = performance.now();
        const answer = await enrolOn(wire, device.serial, device.code, device.body, { ms: 60000 });
        this.slowest = Math.max(this.slowest, performance.now() - began);
        if (answer.status === 200) {
          this.enrolled.set(device.serial, fingerprint(certificateOf(answer.body)));
        } else {
          const { code } = JSON.parse(answer.body);
          assert.equal(answer.status, 503, `${device.serial}: ${code}`);
          assert.ok(Number(answer.headers['retry-after']) > 0, 'it says when to come back');
          this.codes.set(code, (this.codes.get(code) ?? 0) + 1);
          this.waiting.push(device);
          await sleep(100);
        }
        if (answer.headers.connection === 'close') wire = undefined;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        this.waiting.push(device);
        wire = undefined;
        if (!this.over) await sleep(100);
      }
    }
    wire?.destroy();
  }

  async atLeast(n, what, ms = 30000) {
    await until(what, () => this.enrolled.size >= n, ms);
  }

  async stop() {
    this.over = true;
    await this.clients;
  }
}

// Everything that was answered is there, once; rows and entries agree; the ledger has no gap, and its
// newest checkpoint verifies.
export async function proven(hub, enrolled) {
  const devices = await allDevices(hub);
  for (const [serial, sha256] of enrolled) {
    assert.equal(devices.get(serial)?.state, 'trusted', `${serial} was acknowledged`);
    const { certificates } = await hub.must(200, 'GET', `/v1/devices/${serial}/certificates`);
    assert.ok(certificates.some((certificate) => certificate.sha256 === sha256), `${serial}: its certificate is known`);
  }
  const acts = await hub.ledger();
  const subjects = acts.filter(({ act }) => act === 'device.enrol').map(({ subject }) => subject);
  assert.equal(new Set(subjects).size, subjects.length, 'each device enrolled once');
  const ever = [...devices.values()].filter(({ state }) => state !== 'expected');
  assert.deepEqual(subjects.sort(), ever.map(({ id }) => `device/${id}`).sort(), 'rows and entries agree');

  const key = readKey((await hub.must(200, 'GET', '/v1/hub')).ledger.key);
  const name = `auditor-${acts.length}`;
  const { token } = await hub.must(201, 'POST', '/v1/tokens', { name, scopes: ['ledger'], expires_at: LATER });
  const reader = await connect(hub, 'operator');
  const headers = { Authorization: `Bearer ${token}` };
  const newest = await until('the newest tree is signed', async () => {
    const answer = await reader.request('GET', '/v1/ledger/checkpoint', { headers });
    const checkpoint = answer.status === 200 ? readCheckpoint(answer.body, key) : { size: 0 };
    return checkpoint.size > acts.length ? checkpoint : undefined;
  });
  await verifyLog(newest, async (path) => (await reader.request('GET', `/v1/ledger/tile/${path}`, { headers })).body);
  reader.destroy();
  return { devices, entries: newest.size };
}
