// A hub has an end: so many connections, so many file descriptors. What is beyond is refused, and what
// is within is served.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readFile } from 'node:fs/promises';
import { Hub, curl, sleep, until } from './lib/hub.mjs';
import { connect, connectPlain } from './lib/wire.mjs';

describe('a hub with as many connections as it takes', { timeout: 60000 }, () => {
  it('refuses more, wherever they come from, keeps what it has, and its operators can reach it', async () => {
    const hub = await Hub.start({ connections: '10' });
    try {
      await hub.factory();
      const kept = await Promise.all(Array.from({ length: 10 }, (_, i) => connect(hub, 'operator', { address: `127.0.0.${i + 1}` })));
      const more = await Promise.all(Array.from({ length: 5 }, (_, i) => connect(hub, 'operator', { address: `127.0.1.${i + 1}` }).then(() => 'in', () => 'refused')));
      assert.deepEqual([...new Set(more)], ['refused']);
      for (const wire of kept) assert.equal((await wire.request('GET', '/v1/health')).status, 200);
      assert.equal((await hub.metrics()).get('holdfast_connections_over_cap_total{listener="operator"}'), 5, 'counted, and told over the local socket');
      assert.equal((await curl(hub, 'bootstrap', '/.well-known/est/cacerts')).status, 200, 'the other listeners have their own');
      for (const wire of kept) wire.destroy();
      await until('there is room again', async () => (await curl(hub, 'operator', '/v1/health')).status === 200, 5000);
    } finally {
      await hub.stop();
    }
  });
});

describe('a hub without file descriptors', { timeout: 60000 }, () => {
  it('goes on with the connections it has, waits without spinning, and takes new ones later', async (t) => {
    const files = 60;
    const hub = await Hub.start({ loops: '1', 'request-timeout': '30s' }, { prefix: ['prlimit', `--nofile=${files}`] });
    try {
      await hub.factory();
      const kept = await connect(hub, 'operator');
      assert.equal((await kept.request('GET', '/v1/health')).status, 200);
      const wires = await Promise.all(Array.from({ length: files + 40 }, () => connectPlain(hub, 'operator')));
      await sleep(300);
      const spent = async () => {
        const fields = (await readFile(`/proc/${hub.process.pid}/stat`, 'utf8')).split(') ')[1].split(' ');
        return Number(fields[11]) + Number(fields[12]); // ticks of 10 ms
      };
      const before = await spent();
      await sleep(1000);
      const ticks = await spent() - before;
      t.diagnostic(`${ticks * 10} ms of CPU in 1 s without descriptors`);
      assert.ok(ticks < 30, `it spins: ${ticks * 10} ms of CPU in a second`);
      assert.equal((await kept.request('GET', '/v1/health')).status, 200, 'the one before is served');
      for (const wire of wires) wire.destroy();
      await until('new ones are served', async () => (await curl(hub, 'operator', '/v1/health', ['--max-time', '2'])).status === 200);
      await hub.claims('afterwards');
      assert.equal((await hub.api('GET', '/v1/devices/afterwards')).status, 200, 'and so are writes');
      kept.destroy();
    } finally {
      await hub.stop();
    }
  });
});
