// What the hub says of itself: metrics, health, and what it must not say anywhere.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Hub, as, csrBody, curl, enrol, enrolledDevice, newKey, plain } from './lib/hub.mjs';
import { connect } from './lib/wire.mjs';

const LATER = '2099-01-01T00:00:00Z';
const LISTENERS = ['device', 'bootstrap', 'operator', 'status', 'local'];

describe('what the hub says of itself', { timeout: 60000 }, () => {
  let hub;
  before(async () => {
    hub = await Hub.start({ 'log-level': 'debug', 'listen-status': '127.0.0.1:0' });
    await hub.factory();
  });
  after(() => hub.stop());

  it('is metrics in the Prometheus text format', async () => {
    const device = await enrolledDevice(hub, 'measured');
    await as(hub, device, '/v1/device/self');
    await curl(hub, 'operator', '/v1/nowhere');
    const { headers, body } = await hub.api('GET', '/metrics');
    assert.match(headers['content-type'], /^text\/plain; version=0\.0\.4/);
    const text = body.toString();
    assert.ok(text.endsWith('\n'));
    const types = new Map();
    const values = new Map();
    let family;
    for (const line of text.trimEnd().split('\n')) {
      const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) \S.*$/.exec(line);
      const type = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$/.exec(line);
      const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")*\})? (-?[0-9.e+-]+|[+-]Inf|NaN)$/.exec(line);
      assert.ok(help || type || sample, `not in the format: ${line}`);
      if (type) {
        assert.ok(!types.has(type[1]), `a family comes once: ${line}`);
        types.set(type[1], type[2]);
        family = type[1];
      }
      if (sample) {
        const base = types.get(family) === 'histogram' ? sample[1].replace(/_(bucket|sum|count)$/, '') : sample[1];
        assert.equal(base, family, `${line} stands with its family`);
        assert.ok(!values.has(sample[1] + (sample[2] ?? '')), `a series comes once: ${line}`);
        values.set(sample[1] + (sample[2] ?? ''), Number(sample[3].replace('Inf', 'Infinity')));
      }
    }
    for (const [name, type] of types) {
      assert.match(name, /^holdfast_/);
      if (type === 'counter') assert.match(name, /_total$/);
      if (type !== 'histogram') continue;
      for (const [series, count] of values) {
        const labels = new RegExp(`^${name}_count(.*)$`).exec(series)?.[1];
        if (labels === undefined) continue;
        const inside = labels.slice(1, -1);
        const buckets = [...values].filter(([key]) => key.startsWith(`${name}_bucket{`) && key.includes(inside));
        const counts = buckets.map(([, value]) => value);
        assert.deepEqual(counts, [...counts].sort((a, b) => a - b), 'buckets add up');
        assert.equal(counts.at(-1), count, `${series}: the last bucket is +Inf`);
        assert.match(buckets.at(-1)[0], /le="\+Inf"/);
      }
    }
    assert.equal(values.get('holdfast_http_requests_total{outcome="model_create 201"}'), 1);
    assert.equal(values.get('holdfast_http_requests_total{outcome="est_simpleenroll 200"}'), 1);
    assert.equal(values.get('holdfast_http_requests_total{outcome="none 404"}'), 1);
    for (const name of ['holdfast_connections{listener="device"}', 'holdfast_tls_handshakes_total{listener="bootstrap"}', 'holdfast_store_commits_total', 'holdfast_ledger_entries_total'])
      assert.ok(values.has(name), name);
    assert.equal(values.get('holdfast_ledger_entries_total'), (await hub.ledger()).length);
  });

  it('is log lines, one for each event, in which peers cannot write', async () => {
    const evil = 'x\n2026-01-01T00:00:00.000Z notice hub.stopped\u001b[2J\u202e';
    await hub.api('POST', '/v1/devices/measured/quarantine', { reason: 'quote " backslash \\ \u202e and \u2028' });
    await hub.api('POST', '/v1/devices/measured/release', { reason: evil });
    const key = await newKey(join(hub.folder, 'evil.key'));
    const body = await csrBody(key, '/CN=evil');
    for (const user of [evil, 'a"b', '\u001b]0;x\u0007', 'x'.repeat(64)]) await enrol(hub, user, '0'.repeat(26), body);
    await curl(hub, 'operator', '/v1/health', ['-A', evil.replace('\n', ' '), '-H', 'X-Forwarded-For: 1.2.3.4 hub.stopped']);
    const wire = await connect(hub, 'operator');
    wire.send('GET /\u001b[2J HTTP/1.1\r\nHost: x\r\n\r\n');
    await wire.answer();
    const device = await enrolledDevice(hub, 'talkative');
    const report = JSON.stringify({ agent_version: '1', platform: 'p\u202e', key_storage: 'file', facts: { f: 'hub.stopped \u2066' } });
    await as(hub, device, '/v1/device/report', ['-X', 'PUT', '-H', 'Content-Type: application/json'], report);
    await hub.restart();
    const lines = (hub.said + hub.log).trimEnd().split('\n');
    const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warning|notice|info|debug) [a-z][a-z0-9_.]*( [a-z][a-z0-9_]*=([^ "=\\\u0000-\u001f\u007f]+|"([^"\\\u0000-\u001f\u007f]|\\["\\]|\\x[0-9a-f]{2})*"))*$/;
    for (const line of lines) {
      assert.match(line, form);
      assert.doesNotMatch(line, /[\u0080-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u);
    }
    assert.equal(lines.filter((line) => /Z notice hub\.stopped$/.test(line)).length, 1);
    assert.ok(lines.some((line) => / hub\.started .*version=/.test(line)));
    assert.ok(lines.some((line) => / device\.enrolled .*device=talkative/.test(line)));
  });

  it('has no secret in it: not in logs, metrics, ledger, database', async () => {
    const { secret: code } = await hub.claims('secret');
    const second = await hub.must(201, 'POST', '/v1/devices/secret/claim', { expires_at: LATER });
    const { token } = await hub.must(201, 'POST', '/v1/tokens', { name: 'keeper', scopes: ['ledger', 'metrics'], expires_at: LATER });
    const key = await newKey(join(hub.folder, 'secret.key'));
    const body = await csrBody(key, '/CN=secret');
    assert.equal((await enrol(hub, 'secret', code, body)).status, 401, 'the first code is void');
    assert.equal((await enrol(hub, 'secret', second.claim_code, body)).status, 200);
    assert.equal((await curl(hub, 'operator', '/metrics', ['-H', `Authorization: Bearer ${token}`])).status, 200);
    await curl(hub, 'operator', '/metrics', ['-H', `Authorization: Bearer ${token}0`]);
    await curl(hub, 'operator', `/metrics?token=${token}`);
    const metrics = (await hub.api('GET', '/metrics')).body.toString();
    const ledger = JSON.stringify(await hub.ledger());
    const devices = JSON.stringify((await hub.must(200, 'GET', '/v1/devices')).devices);
    await hub.restart();
    const secrets = [code, second.claim_code, token].flatMap((text) => [text, text.replaceAll('-', ''), Buffer.from(`secret:${text}`).toString('base64'), text.split('~').at(-1)]);
    const places = { log: hub.said + hub.log, metrics, ledger, devices };
    for (const name of ['hub.db', 'hub.db-wal']) places[name] = (await readFile(join(hub.state, name)).catch(() => Buffer.alloc(0))).toString('latin1');
    for (const [place, text] of Object.entries(places))
      for (const secret of secrets) assert.ok(!text.includes(secret), `a secret stands in the ${place}`);
    assert.ok(places['hub.db'].includes('keeper'), 'it was looked for in the right place');
  });

  it('is the truth about the hub', async () => {
    const body = await hub.must(200, 'GET', '/v1/hub');
    assert.deepEqual(body.listeners.map(({ name }) => name).sort(), [...LISTENERS].sort());
    for (const { name, address } of body.listeners)
      assert.equal(address, name === 'local' ? `unix:${hub.socket}` : `127.0.0.1:${hub.ports[name]}`);
    assert.equal(body.fleet, 'fleet.example');
    assert.equal(body.ledger.key, (await readFile(join(hub.state, 'ledger.vkey'), 'utf8')).trim());
    assert.ok(Date.parse(body.ca.issuing_not_after) > Date.now());
    assert.equal(body.ledger.size, (await hub.ledger()).length);
  });
});
