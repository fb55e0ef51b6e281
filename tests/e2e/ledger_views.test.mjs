// A hub that shows two histories: its database is swapped under it, forked, set back. Who notices, and
// what they do then.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'node:test';
import { Agent } from './lib/agent.mjs';
import { Hub, programs, until } from './lib/hub.mjs';

const run = promisify(execFile);
const LATER = '2099-01-01T00:00:00Z';

const grow = async (hub, n) => {
  for (let i = 0; i < n; i++) await hub.must(201, 'POST', '/v1/devices/grower/claim', { expires_at: LATER });
};
const ledger = async (hub) => (await hub.must(200, 'GET', '/v1/hub')).ledger;
const signed = (hub) => until('the newest head is signed', async () => {
  const { size, checkpoint_size } = await ledger(hub);
  return size === checkpoint_size && size;
});
// The ledger of another database takes the place of the hub's own, in one transaction.
const swapLedger = (hub, other) => run('sqlite3', ['-bail', '-cmd', '.timeout 10000', join(hub.state, 'hub.db'), `
  ATTACH '${other}' AS other; BEGIN IMMEDIATE;
  ${['ledger_entry', 'ledger_node', 'ledger_head'].map((table) => `DELETE FROM ${table}; INSERT INTO ${table} SELECT * FROM other.${table};`).join('')}
  COMMIT;`]);

describe('a hub that was taken over', () => {
  let hub, fork;
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    await hub.claims('grower');
    await grow(hub, 5);
    await signed(hub);
    await hub.end();
    // A ledger that parts from this one here, and is the longer in the end: whole in itself, and signed.
    const state = join(hub.folder, 'own');
    await cp(hub.state, state, { recursive: true });
    await hub.launch();
    await grow(hub, 300);
    await signed(hub);
    await hub.end();
    fork = join(hub.folder, 'fork.db');
    await cp(join(hub.state, 'hub.db'), fork);
    await rm(hub.state, { recursive: true });
    await cp(state, hub.state, { recursive: true });
    await hub.launch();
    await grow(hub, 20);
    await signed(hub);
  });
  after(() => hub.discard());

  it('gets no signature for a larger tree that does not continue the last one', async () => {
    const before = await ledger(hub);
    await swapLedger(hub, fork);
    await grow(hub, 1);
    const { size } = await ledger(hub);
    assert.ok(size > before.size + 200, 'the hub goes on from the fork');
    await until('the signer refuses', () => / error ledger\.checkpoint_failed .*error=refused/.test(hub.log));
    await grow(hub, 5);
    assert.equal((await ledger(hub)).checkpoint_size, before.size, 'what it serves is what was signed');
    await hub.end();
    await assert.rejects(hub.launch(), 'nor does it start on it');
    assert.match(hub.log, / error ledger\.roll_back .*not those that were signed/);
  });

  it('gets that signature where its owner vouches for the tree, and goes on with proofs', async () => {
    await hub.launch('--accept-roll-back');
    await signed(hub);
    await grow(hub, 5);
    await signed(hub);
    await hub.restart();
    assert.doesNotMatch(hub.log, /roll_back/);
    await grow(hub, 300);
    await signed(hub);
    assert.doesNotMatch(hub.log, /checkpoint_failed/);
  });
});

describe('a device that is shown another ledger', { timeout: 240000 }, () => {
  let hub, agent;
  const at = (name) => join(hub.folder, name);
  const keep = (name) => cp(hub.state, at(name), { recursive: true });
  const put = async (name) => {
    await rm(hub.state, { recursive: true });
    await cp(at(name), hub.state, { recursive: true });
  };
  const status = async () => {
    const { code, output } = await agent.begin(['status', '--json']).ended;
    return { code, ...JSON.parse(output) };
  };
  const once = async () => (await agent.once()).code;
  const installBundle = () => run(programs.cli, ['--socket', hub.socket, 'ca', 'bundle', '--state', hub.state, '--install']);
  // The agent has seen that many entries.
  const knows = (least) => until(`the device has seen ${least} entries`, async () => {
    assert.equal(await once(), 0, agent.log);
    return (await status()).ledger.size >= least;
  }, 30000);

  before(async () => {
    hub = await Hub.start({ 'checkin-interval': '1s' });
    for (const listener of ['device', 'bootstrap']) hub.config[`listen-${listener}`] = `127.0.0.1:${hub.ports[listener]}`;
    await hub.factory();
    const codes = await hub.claims('kept', 'grower');
    agent = await Agent.make(hub, 'kept', { code: codes.kept });
    assert.equal(await once(), 0, agent.log);
    await knows(await signed(hub));
    await hub.end();
    await keep('early'); // as a backup of all of it, the signer's memory included
    await hub.launch();
    await grow(hub, 30);
    await knows(await signed(hub));
    await hub.end();
    await keep('right');
  });
  after(async () => {
    await agent?.remove();
    await hub.discard();
  });

  it('keeps the newest checkpoint, and says what it knows', async () => {
    const { code, serial, identity, ledger: { size, root, finding } } = await status();
    assert.deepEqual([code, serial, identity, finding], [0, 'kept', 'in use', null]);
    assert.ok(size > 30);
    assert.match(root, /^[0-9a-f]{64}$/);
    const text = (await agent.begin(['status']).ended).output;
    assert.match(text, new RegExp(`^ledger +${size} entries seen, root [A-Za-z0-9+/]{43}=$`, 'm'));
  });

  it('refuses one that has shrunk, until what it knew is there again', async () => {
    const { ledger: known } = await status();
    await put('early');
    await hub.launch();
    await signed(hub);
    agent.log = '';
    assert.equal(await once(), 4, agent.log);
    assert.match(agent.log, new RegExp(`error device\\.ledger_refused .*code=shrunk .*size=${known.size} .*hint=`));
    assert.doesNotMatch(agent.log, /device\.(checked_in|reported)/);
    const { code, ledger: now } = await status();
    assert.deepEqual([code, now.finding, now.size, now.root], [4, 'shrunk', known.size, known.root]);
    assert.match((await agent.begin(['status']).ended).output, /^finding +the ledger that the hub shows is shrunk, since 2/m);
    await hub.end();
    await put('right');
    await hub.launch();
    await signed(hub);
    agent.log = '';
    await knows(known.size);
    assert.equal((await status()).ledger.finding, null);
    assert.match(agent.log, / notice device\.ledger_sound /);
    await hub.end();
    await rm(at('right'), { recursive: true });
    await keep('right');
  });

  it('refuses a fork for good, and the hub that is right again hears of it', async () => {
    const { ledger: known } = await status();
    await put('early');
    await hub.launch();
    await grow(hub, 100);
    await signed(hub);
    agent.log = '';
    assert.equal(await once(), 4, agent.log);
    assert.match(agent.log, / error device\.ledger_refused .*code=forked /);
    await hub.end();
    await put('right');
    await hub.launch();
    await signed(hub);
    assert.equal(await once(), 4, 'two histories were signed, whatever is shown now');
    const { ledger: now } = await status();
    assert.deepEqual([now.finding, now.size, now.root], ['forked', known.size, known.root]);
    await hub.restart(); // what was counted goes to the ledger at the end
    const findings = (await hub.ledger()).filter(({ act }) => act === 'finding.refused').map(({ data }) => `${data.kind} ${data.source}`);
    assert.ok(findings.includes('ledger-forked default/kept'), findings);
  });

  it('starts anew with a trust bundle that was signed since', async () => {
    await installBundle();
    agent.log = '';
    await once(); // learns of the bundle, follows it, checks in again
    assert.match(agent.log, / notice device\.bundle_followed .*version=2/);
    assert.match(agent.log, / notice device\.ledger_sound /);
    await knows(await signed(hub));
    const { code, trust_bundle, ledger: { finding } } = await status();
    assert.deepEqual([code, trust_bundle, finding], [0, 2, null]);
  });
});
