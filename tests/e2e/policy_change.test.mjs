// How a policy comes into force: planned, applied, by two people, with the owner's signature, and back.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, as, enrolledDevice, programs } from './lib/hub.mjs';
import { broker, changes, table } from './lib/broker.mjs';

const run = promisify(execFile);
const needsRoot = process.getuid() === 0 ? false : 'SKIPPED: run as root to be two people';
if (needsRoot) console.error(needsRoot);

const CHECKIN = ['-X', 'POST', '-H', 'Content-Type: application/json'];
const checkin = (hub, device) => as(hub, device, '/v1/device/checkin', CHECKIN, JSON.stringify({ agent_version: '1.0.0', uptime_seconds: 1 }));

function refused(answer, status, code) {
  assert.equal(answer.status, status, JSON.stringify(answer.body ?? answer));
  assert.equal((answer.json ?? answer.body).code, code);
}

// A policy of one model; `more` are lines put behind.
function policy({ publish = 'up/{device}', reach = '[enrolment, api, mqtt]', changes = '', more = '' } = {}) {
  return `holdfast: 1
fleet: fleet.example
${changes}
groups:
  floor-1: {subscribe: ["floor/{group}"]}
models:
  thermo:
    identity: {maker: acme, lifetime: 10d}
    reach: {trusted: ${reach}}
    publish: ["${publish}"]
${more}
`;
}

const apply = (hub, from, text, more = {}) => hub.api('POST', '/v1/policies', { from, text, ...more });
const applied = async (hub, from, text, more) => {
  const { status, body } = await apply(hub, from, text, more);
  assert.equal(status, 201, JSON.stringify(body));
  return body;
};
const acts = async (hub, name) => (await hub.ledger()).filter(({ act }) => act === name);

describe('a policy', { timeout: 120000 }, () => {
  let hub, device, first;
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    device = await enrolledDevice(hub, 'thermo-1');
    await enrolledDevice(hub, 'thermo-2');
  });
  after(() => hub?.stop());

  it('is not there at first, and devices reach what their state allows', async () => {
    refused(await hub.api('GET', '/v1/policy'), 404, 'policy-not-found');
    assert.equal((await checkin(hub, device)).status, 204);
    refused(await hub.api('PUT', '/v1/devices/thermo-1/group', { group: 'floor-1' }), 404, 'group-not-found');
  });

  it('is planned: what changes, for whom, and nothing is changed', async () => {
    const before = await hub.acts();
    await hub.must(201, 'POST', '/v1/models', { id: 'valve', maker: 'x', proof: 'manifest', key_kinds: ['P-256'], lifetime_seconds: 3600, enrolled_lifetime_seconds: 300 });
    const plan = await hub.must(200, 'POST', '/v1/policy/plan', { text: policy() });
    assert.equal(plan.from, 0);
    assert.equal(plan.approvals, 1);
    assert.equal(plan.signature, 'none');
    assert.ok(plan.differences.some(({ effect, name, what }) => effect === 'gains' && name === 'thermo' && /up\/\{device\}/.test(what)), JSON.stringify(plan));
    const thermo = plan.concerned.find(({ scope, name }) => scope === 'model' && name === 'thermo');
    assert.equal(thermo.devices, 2);
    assert.deepEqual(thermo.names, ['thermo-1', 'thermo-2']);
    assert.deepEqual(plan.unlisted, [{ scope: 'model', name: 'valve', devices: 0 }]);
    assert.equal(plan.lock_out, undefined);
    assert.equal(await hub.acts(), before + 1, 'the model alone');
    refused(await hub.api('GET', '/v1/policy'), 404, 'policy-not-found');
  });

  it('comes into force with one entry of the ledger, its models, and signed rules', async () => {
    first = await applied(hub, 0, policy(), { comment: 'the first' });
    assert.equal(first.number, 1);
    assert.equal(first.status, 'in-force');
    assert.equal(first.proposed_by, `local:${process.getuid()}`);
    const [entry] = await acts(hub, 'policy.apply');
    assert.equal(entry.subject, 'policy/1');
    assert.equal(entry.data.text_sha256, first.text_sha256);
    assert.equal(entry.data.comment, 'the first');
    assert.equal(entry.data.models_changed, 1);
    assert.equal((await hub.must(200, 'GET', '/v1/models/thermo')).lifetime_seconds, 864000);
    const shown = await hub.must(200, 'GET', '/v1/policy');
    assert.equal(shown.text, policy());
    assert.ok(shown.rules_bytes > 0);
  });

  it('owns the models that it defines, and no others', async () => {
    refused(await hub.api('DELETE', '/v1/models/thermo'), 409, 'model-of-policy');
    refused(await hub.api('PATCH', '/v1/models/thermo', { lifetime_seconds: 7200 }), 409, 'model-of-policy');
    refused(await hub.api('POST', '/v1/models', { id: 'thermo', maker: 'x', proof: 'manifest', key_kinds: ['P-256'], lifetime_seconds: 3600, enrolled_lifetime_seconds: 300 }), 409, 'model-of-policy');
    await hub.must(204, 'DELETE', '/v1/models/valve');
  });

  it('says what a device reaches', async () => {
    assert.equal((await checkin(hub, device)).status, 204);
    const only = policy({ reach: '[enrolment]', more: '  valve:\n    identity: {maker: acme}\n' });
    await applied(hub, 1, only);
    refused(await checkin(hub, device), 403, 'out-of-reach');
    assert.equal((await as(hub, device, '/v1/device/trust-bundle')).status, 200, 'its own enrolment it reaches');
    await hub.restart('SIGKILL');
    refused(await checkin(hub, device), 403, 'out-of-reach');
    assert.equal((await hub.must(200, 'GET', '/v1/policy')).number, 2);
  });

  it('goes back to an earlier text, as a new one', async () => {
    refused(await hub.api('POST', '/v1/policies', { from: 2, restores: 2 }), 409, 'policy-not-restorable');
    refused(await hub.api('POST', '/v1/policies', { from: 2, restores: 9 }), 404, 'policy-not-found');
    refused(await hub.api('POST', '/v1/policies', { from: 2, restores: 1, text: policy() }), 400, 'policy-text');
    const { status, body } = await hub.api('POST', '/v1/policies', { from: 2, restores: 1 });
    assert.equal(status, 201, JSON.stringify(body));
    assert.equal(body.restores, 1);
    assert.equal(body.text_sha256, first.text_sha256);
    assert.equal((await checkin(hub, device)).status, 204);
    const { policies } = await hub.must(200, 'GET', '/v1/policies');
    assert.deepEqual(policies.map(({ number, status: s }) => [number, s]), [[3, 'in-force'], [2, 'replaced'], [1, 'replaced']]);
    const page = await hub.must(200, 'GET', '/v1/policies?limit=2');
    assert.equal(page.next, '2');
    assert.deepEqual((await hub.must(200, 'GET', '/v1/policies?limit=2&after=2')).policies.map(({ number }) => number), [1]);
  });

  it('is refused where it is not what was planned, not sound, or does not do what it says of itself', async () => {
    const before = await hub.acts();
    refused(await apply(hub, 1, policy({ publish: 'x' })), 409, 'policy-changed');
    refused(await apply(hub, 3, policy()), 409, 'policy-unchanged');
    const malformed = await apply(hub, 3, 'holdfast: 1\nfleet: fleet.example\nmodels: {thermo: 7}\n');
    refused(malformed, 400, 'policy-malformed');
    assert.match(malformed.body.detail, /policy\.yaml:3:/);
    refused(await apply(hub, 3, policy().replace('fleet.example', 'other.example')), 409, 'policy-fleet');
    const failing = await apply(hub, 3, policy({ publish: 'x', more: 'tests:\n  - {device: a, model: thermo, may-not: {publish: x}}\n' }));
    refused(failing, 409, 'policy-test-failed');
    assert.match(failing.body.detail, /policy\.yaml:12: /);
    refused(await apply(hub, 3, policy({ reach: '[enrolment]' })), 409, 'policy-lock-out');
    refused(await apply(hub, 3, policy({ changes: 'changes: {approvals: 2}' })), 409, 'policy-lock-out');
    assert.equal(await hub.acts(), before);
    assert.equal((await applied(hub, 3, policy({ reach: '[enrolment]' }), { lock_out: 'accepted' })).number, 4);
    await applied(hub, 4, policy({ publish: 'again/{device}' }));
  });

  it('has groups, in which devices are put', async () => {
    refused(await hub.api('PUT', '/v1/devices/thermo-1/group', { group: 'floor-9' }), 404, 'group-not-found');
    refused(await hub.api('PUT', '/v1/devices/nobody/group', { group: 'floor-1' }), 404, 'device-not-found');
    assert.equal((await hub.must(200, 'PUT', '/v1/devices/thermo-1/group', { group: 'floor-1' })).group, 'floor-1');
    const { devices } = await hub.must(200, 'GET', '/v1/devices?group=floor-1');
    assert.deepEqual(devices.map(({ id }) => id), ['thermo-1']);
    const before = await hub.acts();
    await hub.must(200, 'PUT', '/v1/devices/thermo-1/group', { group: 'floor-1' });
    assert.equal(await hub.acts(), before, 'the same again is no act');
    const plan = await hub.must(200, 'POST', '/v1/policy/plan', { text: policy({ publish: 'again/{device}' }).replace('floor/{group}', 'other/{group}') });
    assert.deepEqual(plan.concerned, [{ scope: 'group', name: 'floor-1', devices: 1, names: ['thermo-1'] }]);
    assert.equal((await hub.must(200, 'PUT', '/v1/devices/thermo-1/group', {})).group, undefined);
    assert.deepEqual((await acts(hub, 'device.assign')).map(({ data }) => data.group), ['floor-1', '']);
  });
});

describe('what a broker gets of it', { timeout: 60000 }, () => {
  it('is its signed rules, of which it hears at once, whatever the policy says of brokers\' own model', async () => {
    const hub = await Hub.start();
    const one = await broker(hub, 'mqtt-1');
    const rules = (version) => as(hub, one, `/v1/broker/rules?version=${version}`);
    assert.equal((await rules(0)).status, 204);
    assert.deepEqual((await hub.must(200, 'POST', '/v1/policy/plan', { text: policy() })).unlisted, [], 'brokers are not its business');
    const { at } = await table(hub, one);
    const told = changes(hub, one, at, 20);
    await applied(hub, 0, policy());
    const began = Date.now();
    assert.equal((await told).rules, 1);
    assert.ok(Date.now() - began < 15000, 'not when the wait was over');
    const answer = await rules(0);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'application/vnd.holdfast.rules');
    assert.equal(answer.body.subarray(0, 8).toString(), 'HFRULES1');
    const key = (await readFile(join(hub.state, 'policy.vkey'), 'utf8')).split('+')[0];
    assert.match(answer.body.toString('latin1'), new RegExp(`fleet fleet.example\nversion 1\n[\\s\\S]* ${key} `));
    assert.equal((await rules(1)).status, 204);
    assert.equal((await table(hub, one)).rules, 1);
    await hub.stop();
  });
});

describe('the command', { timeout: 60000 }, () => {
  let hub, file;
  before(async () => {
    hub = await Hub.start();
    file = join(hub.folder, 'policy.yaml');
  });
  after(() => hub?.stop());
  const cli = (...words) => hub.cli('policy', ...words);

  it('plans, applies, shows, compares and goes back', async () => {
    await writeFile(file, policy());
    let said = await cli('plan', file);
    assert.equal(said.code, 0, said.stderr);
    assert.match(said.stdout, /No policy is in force yet[\s\S]*model thermo \(0 devices\)[\s\S]*\+ gains .*up\/\{device\}/);
    said = await cli('apply', file);
    assert.equal(said.code, 2, 'it asks, and nobody is there');
    said = await cli('--yes', 'apply', file, '--comment', 'the first');
    assert.equal(said.code, 0, said.stderr);
    assert.match(said.stderr, /Policy 1 is in force/);
    await writeFile(file, policy({ publish: 'other/{device}' }));
    assert.equal((await cli('--yes', 'apply', file)).code, 0);
    assert.equal((await cli('show')).stdout, policy({ publish: 'other/{device}' }));
    assert.equal((await cli('show', '1')).stdout, policy());
    assert.match((await cli('diff', '1')).stdout, /model thermo gains publish to 'other\/\{device\}'[\s\S]*/);
    assert.equal((await cli('--yes', 'rollback', '1')).code, 0);
    const history = await cli('history');
    assert.match(history.stdout, /3 +in-force .*back to 1/);
    assert.match(history.stdout, /1 +replaced .*the first/);
    assert.equal((await cli('show', '9')).code, 4);
    await hub.must(201, 'POST', '/v1/manifests', { id: 'batch', model: 'thermo', owner: 'acme' });
    await hub.claims('t-1', 't-2');
    const device = (...words) => hub.cli('device', ...words);
    assert.equal((await device('assign', 't-1', 't-2')).code, 2);
    assert.match((await device('assign', 't-1', '--group', 'floor-9')).stderr, /no group 'floor-9'/);
    assert.match((await device('assign', 't-1', 't-2', '--group', 'floor-1')).stderr, /t-1 is in floor-1[\s\S]*t-2 is in floor-1/);
    assert.match((await device('list', '--group', 'floor-1')).stdout, /t-1[\s\S]*t-2/);
    assert.match((await device('show', 't-2')).stdout, /group +floor-1/);
    assert.equal((await device('assign', 't-2', '--no-group')).code, 0);
    assert.doesNotMatch((await device('list', '--group', 'floor-1')).stdout, /t-2/);
    await writeFile(file, policy({ more: 'tests:\n  - {device: a, model: thermo, may: {publish: y}}\n' }));
    said = await cli('plan', file);
    assert.equal(said.code, 1);
    assert.match(said.stdout, /fails: .*policy\.yaml:12: /);
    said = await cli('--yes', 'apply', file);
    assert.equal(said.code, 1);
    assert.match(said.stderr, /policy-test-failed|does not hold/);
  });
});

describe('a policy that asks for two people', { skip: needsRoot, timeout: 60000 }, () => {
  let hub;
  before(async () => {
    hub = await Hub.start({ operators: 'daemon' }, { prepare: (h) => chmod(h.folder, 0o755) });
    await applied(hub, 0, policy({ changes: 'changes: {approvals: 2}' }));
  });
  after(() => hub?.stop());

  async function asDaemon(method, path, body) {
    const words = ['--reuid', 'daemon', '--regid', 'nogroup', '--clear-groups', 'curl', '-sS', '-w', '\n%{http_code}', '--unix-socket', hub.socket,
                   '-X', method, '-H', 'Content-Type: application/json', '-d', JSON.stringify(body), `http://localhost${path}`];
    const { stdout } = await run('setpriv', words);
    const at = stdout.lastIndexOf('\n');
    return { status: Number(stdout.slice(at + 1)), body: JSON.parse(stdout.slice(0, at)) };
  }

  it('takes one that another approves, and not oneself', async () => {
    const proposed = await applied(hub, 1, policy({ publish: 'two/{device}', changes: 'changes: {approvals: 2}' }), { comment: 'please' });
    assert.equal(proposed.status, 'proposed');
    assert.equal((await hub.must(200, 'GET', '/v1/policy')).number, 1);
    refused(await hub.api('POST', '/v1/policies/2/approve', { from: 1 }), 403, 'policy-same-person');
    refused(await asDaemon('POST', '/v1/policies/2/approve', { from: 0 }), 409, 'policy-changed');
    refused(await asDaemon('POST', '/v1/policies/7/approve', { from: 1 }), 404, 'policy-not-found');
    refused(await asDaemon('POST', '/v1/policies/1/approve', { from: 1 }), 409, 'policy-not-proposed');
    const approved = await asDaemon('POST', '/v1/policies/2/approve', { from: 1 });
    assert.equal(approved.status, 200, JSON.stringify(approved.body));
    assert.equal(approved.body.status, 'in-force');
    assert.notEqual(approved.body.approved_by, approved.body.proposed_by);
    const [, entry] = await acts(hub, 'policy.apply');
    assert.equal(entry.actor, approved.body.approved_by);
    assert.equal(entry.data.proposed_by, 'local:0');
    assert.equal(entry.data.comment, 'please');
  });

  it('has one withdrawn, and one that was overtaken stays where it is', async () => {
    const text = (name) => policy({ publish: `${name}/{device}`, changes: 'changes: {approvals: 2}' });
    await applied(hub, 2, text('old'));
    await applied(hub, 2, text('new'));
    await applied(hub, 2, text('third'));
    const withdrawn = await hub.must(200, 'POST', '/v1/policies/5/withdraw', { comment: 'a mistake' });
    assert.equal(withdrawn.status, 'withdrawn');
    refused(await asDaemon('POST', '/v1/policies/5/approve', { from: 2 }), 409, 'policy-not-proposed');
    assert.equal((await asDaemon('POST', '/v1/policies/4/approve', { from: 2 })).status, 200);
    refused(await asDaemon('POST', '/v1/policies/3/approve', { from: 4 }), 409, 'policy-overtaken');
    assert.equal((await acts(hub, 'policy.withdraw')).length, 1);
  });
});

describe('a policy that asks for its owner\'s word', { timeout: 60000 }, () => {
  let hub, key, changes;
  before(async () => {
    hub = await Hub.start();
    key = join(hub.folder, 'owner.key');
    const made = await hub.cli('policy', 'key', 'create', key, '--name', 'acme/owner');
    assert.equal(made.code, 0, made.stderr);
    const vkey = (await readFile(`${key}.vkey`, 'utf8')).trim();
    changes = `changes: {loosening-key: "${vkey}"}`;
    await applied(hub, 0, policy({ changes }));
  });
  after(() => hub?.stop());

  async function sign(text, from, with_ = key) {
    const file = join(hub.folder, 'signed.yaml');
    await writeFile(file, text);
    const { stdout } = await run(programs.cli, ['policy', 'sign', file, '--from', String(from), '--key', with_]);
    return stdout;
  }

  it('tightens without, and loosens only with a signature for just that change', async () => {
    const tighter = policy({ changes }).replace('    publish: ["up/{device}"]\n', '');
    assert.equal((await applied(hub, 1, tighter)).signature, undefined);
    const looser = policy({ changes, publish: '#' });
    assert.equal((await hub.must(200, 'POST', '/v1/policy/plan', { text: looser })).signature, 'owner');
    refused(await apply(hub, 2, looser), 403, 'policy-signature-needed');
    const forged = join(hub.folder, 'forged.key');
    assert.equal((await hub.cli('policy', 'key', 'create', forged, '--name', 'acme/owner')).code, 0);
    refused(await apply(hub, 2, looser, { signature: await sign(looser, 2, forged) }), 403, 'policy-signature-refused');
    refused(await apply(hub, 2, looser, { signature: await sign(looser, 1) }), 403, 'policy-signature-refused');
    refused(await apply(hub, 2, looser, { signature: await sign(`${looser}# other\n`, 2) }), 403, 'policy-signature-refused');
    refused(await apply(hub, 2, looser, { signature: 'no note' }), 403, 'policy-signature-refused');
    assert.equal((await applied(hub, 2, looser, { signature: await sign(looser, 2) })).signature, 'owner');
    // the key itself is not given up without it either
    refused(await apply(hub, 3, policy()), 403, 'policy-signature-needed');
    const [, , entry] = await acts(hub, 'policy.apply');
    assert.equal(entry.data.signed_by_owner, true);
  });
});

describe('a hub that is killed while a policy comes into force', { timeout: 120000 }, () => {
  it('has either all of it or nothing, and goes on from there', async () => {
    const hub = await Hub.start();
    let from = 0;
    for (let round = 0; round < 6; round++) {
      const text = policy({ publish: `round-${round}/{device}` });
      const answer = apply(hub, from, text).catch((error) => error);
      await new Promise((done) => setTimeout(done, round * 4));
      await hub.restart('SIGKILL');
      const said = await answer;
      const now = await hub.api('GET', '/v1/policy');
      const number = now.status === 200 ? now.body.number : 0;
      if (said.status === 201) assert.equal(number, said.body.number, 'what was acknowledged is there');
      if (number > from) assert.equal(now.body.text, text);
      else assert.equal(number, from);
      assert.equal((await acts(hub, 'policy.apply')).length, (await hub.must(200, 'GET', '/v1/policies')).policies.length);
      from = number;
    }
    assert.equal((await applied(hub, from, policy({ publish: 'last' }))).status, 'in-force');
    await hub.stop();
  });
});
