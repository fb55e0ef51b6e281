// A hub that shows two histories: its database is swapped under it, forked, set back. Who notices, and
// what they do then.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'node:test';
import { Hub, until } from './lib/hub.mjs';

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
