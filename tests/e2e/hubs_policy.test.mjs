// One policy over two hubs: what is applied at one holds at the other, for devices, brokers and people.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { promisify } from 'node:util';
import { Fleet } from './lib/fleet.mjs';
import { as, enrolledDevice, until } from './lib/hub.mjs';
import { broker, changes, table } from './lib/broker.mjs';

const run = promisify(execFile);
const needsRoot = process.getuid() === 0 ? false : 'SKIPPED: run as root to be two people';
if (needsRoot) console.error(needsRoot);

const policy = ({ reach = '[enrolment, api, mqtt]', publish = 'up/{device}', lines = '' } = {}) => `holdfast: 1
fleet: fleet.example
${lines}
models:
  thermo:
    identity: {maker: acme}
    reach: {trusted: ${reach}}
    publish: ["${publish}"]
  valve:
    identity: {maker: acme}
`;

describe('a policy among two hubs', { timeout: 240000 }, () => {
  let fleet, a, b, device, number = 0;
  before(async () => {
    fleet = await Fleet.start(2, { config: { operators: 'daemon' } });
    [a, b] = fleet.hubs;
    for (const hub of fleet.hubs) await chmod(hub.folder, 0o755); // for the other person
    await a.factory();
    device = await enrolledDevice(a, 'thermo-1');
  });
  after(() => fleet?.stop());

  const checkin = (hub) => as(hub, device, '/v1/device/checkin', ['-X', 'POST', '-H', 'Content-Type: application/json'],
                              JSON.stringify({ agent_version: '1.0.0', uptime_seconds: 1 }));
  const apply = (hub, text, from = number) => hub.api('POST', '/v1/policies', { from, text });
  const applied = async (hub, text) => {
    const { status, body } = await apply(hub, text);
    assert.equal(status, 201, JSON.stringify(body));
    if (body.status === 'in-force') ({ number } = body);
    return body;
  };
  const holds = (hub, status) => until(`a check-in is answered ${status} there`, async () => (await checkin(hub)).status === status, 30000);
  async function asDaemon(hub, path, body) {
    const { stdout } = await run('setpriv', ['--reuid', 'daemon', '--regid', 'nogroup', '--clear-groups', 'curl', '-sS', '-w', '\n%{http_code}', '--unix-socket', hub.socket,
      '-X', 'POST', '-H', 'Content-Type: application/json', '-d', JSON.stringify(body), `http://localhost${path}`]);
    const at = stdout.lastIndexOf('\n');
    return { status: Number(stdout.slice(at + 1)), body: JSON.parse(stdout.slice(0, at)) };
  }

  // At a; by two people, where the policy in force asks for them.
  async function inForce(text) {
    const made = await applied(a, text);
    if (made.status === 'in-force') return;
    const { status, body } = await asDaemon(a, `/v1/policies/${made.number}/approve`, { from: number });
    assert.equal(status, 200, JSON.stringify(body));
    ({ number } = body);
  }

  it('says at either what a device reaches, whichever it was applied at', async () => {
    for (const [one, other] of [[a, b], [b, a]]) {
      await applied(one, policy({ reach: '[enrolment]' }));
      assert.equal((await checkin(one)).json.code, 'out-of-reach', 'at once where it was applied');
      await holds(other, 403);
      assert.equal((await other.must(200, 'GET', '/v1/policy')).number, number);
      await applied(other, policy());
      assert.equal((await checkin(other)).status, 204);
      await holds(one, 204);
    }
    const [here, there] = await Promise.all([a, b].map((hub) => hub.must(200, 'GET', '/v1/policies')));
    assert.deepEqual(here, there);
  });

  it('is heard of by a broker that waits at the other hub, as rules that are signed', async () => {
    const one = await broker(b, 'mqtt-1');
    const { at } = await table(b, one);
    const held = number, words = ['-G', '--data-urlencode', `rules=${held}`];
    const told = (async () => {
      let page = { at, rules: held };
      while (page.rules === held) page = await changes(b, one, page.at, 25, words); // other acts wake it, too
      return page.rules;
    })();
    const began = Date.now();
    await applied(a, policy({ publish: 'other/{device}' }));
    assert.equal(await told, number);
    assert.ok(Date.now() - began < 20000, 'not when the wait was over');
    const keys = (await a.must(200, 'GET', '/v1/hubs')).hubs.map(({ policy_key: key }) => key.split('+')[0]);
    const rulesOf = async (hub) => {
      const { status, body } = await as(hub, one, `/v1/broker/rules?version=${number - 1}`);
      assert.equal(status, 200);
      const text = body.toString('latin1');
      assert.match(text, new RegExp(`version ${number}\\n`));
      assert.ok(keys.some((key) => text.includes(`\u2014 ${key} `) || text.includes(`${key} `)), 'by a hub of the fleet');
      return /body \d+ [0-9a-f]{64}/.exec(text)[0];
    };
    assert.equal(await rulesOf(b), await rulesOf(a), 'the same rules at both');
    assert.equal((await as(b, one, `/v1/broker/rules?version=${number}`)).status, 204);
  });

  it('is one, where both are asked for another at the same time', async () => {
    const [one, other] = await Promise.all([apply(a, policy({ publish: 'from-a/{device}' })), apply(b, policy({ publish: 'from-b/{device}' }))]);
    const [won, lost] = one.status === 201 ? [one, other] : [other, one];
    assert.deepEqual([won.status, lost.status, lost.body.code], [201, 409, 'policy-changed'], JSON.stringify([one.body, other.body]));
    ({ number } = won.body);
    for (const hub of [a, b]) await until('it shows that one', async () => (await hub.must(200, 'GET', '/v1/policy')).number === number, 30000);
  });

  it('is approved at another hub than it was proposed at', { skip: needsRoot }, async () => {
    await applied(a, policy({ lines: 'changes: {approvals: 2}' }));
    const proposed = await applied(a, policy({ lines: 'changes: {approvals: 2}', reach: '[enrolment]' }));
    assert.equal(proposed.status, 'proposed');
    const path = `/v1/policies/${proposed.number}/approve`;
    const again = await b.api('POST', path, { from: number });
    assert.deepEqual([again.status, again.body.code], [403, 'policy-same-person'], 'the same person is that at any hub');
    assert.equal((await checkin(b)).status, 204, 'a proposal changes nothing');
    const approved = await asDaemon(b, path, { from: number });
    assert.deepEqual([approved.status, approved.body.status], [200, 'in-force'], JSON.stringify(approved.body));
    ({ number } = approved.body);
    assert.equal((await checkin(b)).json.code, 'out-of-reach');
    await holds(a, 403);
    const entry = (await a.ledger()).filter(({ act }) => act === 'policy.apply').at(-1);
    assert.equal(entry.data.proposed_by, 'local:0');
    assert.equal(entry.actor, approved.body.approved_by);
  });

  it('holds at a hub that was away, from its first answer on', async () => {
    await b.end('SIGKILL');
    await inForce(policy({ publish: 'while/away', reach: '[enrolment]' }));
    await b.launch();
    assert.equal((await checkin(b)).json.code, 'out-of-reach');
    assert.equal((await b.must(200, 'GET', '/v1/policy')).number, number);
  });
});
