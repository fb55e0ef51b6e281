// A broker of the fleet, with curl and openssl for its part: added, enrolled, and the feed it reads.
import { join } from 'node:path';
import { as, csrBody, enrol, keepCertificate, newKey } from './hub.mjs';

const STATES = ['expected', 'enrolled', 'trusted', 'quarantined', 'revoked', 'retired'];

export function addBroker(hub, name, hosts = ['mqtt.example.com', '10.0.0.5']) {
  return hub.must(201, 'POST', '/v1/brokers', {
    name, hosts: hosts.map((host) => ({ host })), expires_at: '2099-01-01T00:00:00Z',
  });
}

export async function enrolBroker(hub, made) {
  const key = await newKey(join(hub.folder, `${made.name}.key`));
  const csr = await csrBody(key, `/CN=${made.name}`);
  const answer = await enrol(hub, made.name, made.claim_code, csr);
  if (answer.status !== 200) throw new Error(`enrolment of ${made.name}: ${JSON.stringify(answer.json ?? answer)}`);
  const certificate = await keepCertificate(answer, join(hub.folder, `${made.name}.crt`));
  return { name: made.name, serial: made.name, key, certificate, csr };
}

export const broker = async (hub, name, hosts) => enrolBroker(hub, await addBroker(hub, name, hosts));

// core/device_feed.h
export function readFeed(bytes) {
  let at = 0;
  const take = (n) => {
    if (at + n > bytes.length) throw new Error('the feed is cut short');
    return bytes.subarray(at, (at += n));
  };
  const number = (n) => (n === 8 ? Number(take(8).readBigUInt64BE()) : take(n).readUIntBE(0, n));
  const text = () => take(number(1)).toString();
  if (take(8).toString() !== 'HFFEED01') throw new Error('this is no feed');
  const feed = { at: number(8), rules: number(8), records: [] };
  const count = number(4);
  for (let i = 0; i < count; i++) {
    const end = number(2) + at;
    const record = { state: STATES[number(1)] };
    const flags = number(1);
    record.cut = (flags & 2) !== 0;
    for (const name of ['tenant', 'device', 'model', 'group']) record[name] = text();
    record.certificates = Array.from({ length: number(1) }, () => ({ sha256: take(32).toString('hex'), notAfter: number(8) }));
    const password = () => ({ salt: take(16), iterations: number(4), storedKey: take(32), until: number(8) });
    if (flags & 1) record.password = password();
    if (flags & 4) record.previous = password();
    if (at !== end) throw new Error('a record is not as long as it says');
    feed.records.push(record);
  }
  if (at !== bytes.length) throw new Error('bytes are left over');
  return feed;
}

const feed = async (answer) => {
  const { status, headers, body, json } = await answer;
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(json)}`);
  if (headers['content-type'] !== 'application/vnd.holdfast.feed') throw new Error(headers['content-type']);
  return readFeed(body);
};

export const table = (hub, one, query = '') => feed(as(hub, one, `/v1/broker/table${query}`));
export const changes = (hub, one, after, wait = 0, words = []) =>
  feed(as(hub, one, `/v1/broker/changes?after=${after}&wait=${wait}`, ['--max-time', '40', ...words]));
export const report = (hub, one, said) => as(hub, one, '/v1/broker/reports', ['-H', 'Content-Type: application/json'],
  typeof said === 'string' ? said : JSON.stringify({ position: 0, rules: 0, sessions: 0, software: 'test 1', stale_seconds: 0, ...said }));

// The whole of it, page by page.
export async function wholeTable(hub, one, limit = 2) {
  const records = [];
  let at;
  for (let after = ''; ;) {
    const page = await table(hub, one, `?limit=${limit}${after === '' ? '' : `&after=${after}`}`);
    at ??= page.at;
    if (page.records.length === 0) return { at, records };
    records.push(...page.records);
    after = page.records.at(-1).device;
  }
}
