// Ledgers for tests: grown on a hub, or served as a false hub would.
import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';

// Adds entries, one for each fresh claim code of the device `grower`, until the ledger has `size`.
export async function growTo(hub, size) {
  for (;;) {
    const at = (await hub.must(200, 'GET', '/v1/hub')).ledger.size;
    assert.ok(at <= size, `the ledger has ${at} entries already`);
    if (at === size) return;
    for (let left = size - at; left > 0; left -= 16)
      await Promise.all(Array.from({ length: Math.min(left, 16) }, () => hub.must(201, 'POST', '/v1/devices/grower/claim', { expires_at: '2099-01-01T00:00:00Z' })));
  }
}

// A folder's checkpoint and tiles on a Unix socket, below /v1/ledger/.
export async function serve(folder, socket) {
  await rm(socket, { force: true });
  const server = http.createServer(async (request, response) => {
    const body = await readFile(join(folder, request.url.replace('/v1/ledger/', ''))).catch(() => undefined);
    response.writeHead(body === undefined ? 404 : 200, { Connection: 'close' });
    response.end(body);
  });
  await new Promise((done) => server.listen(socket, done));
  return server;
}
