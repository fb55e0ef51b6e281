// A relying party that others wrote: nginx goes by the lists, the root's and the hub's, and agrees with the hub.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, as, curl, enrolledDevice, openssl, until } from './lib/hub.mjs';
import { Nginx } from './lib/nginx.mjs';

const run = promisify(execFile);

describe('nginx that goes by lists', { timeout: 120000 }, () => {
  let hub;
  let nginx;
  let lists; // the file that it reads: both lists in PEM
  let root;  // the root's own list
  before(async () => {
    hub = await Hub.start();
    await hub.factory();
    root = join(hub.folder, 'root.crl');
    lists = join(hub.folder, 'lists.pem');
    const made = await hub.cli('--state', hub.state, 'ca', 'crl', '-o', root);
    assert.equal(made.code, 0, made.stderr);
    await fetchLists(() => true);
    nginx = await Nginx.start(hub, `ssl_crl ${lists};`);
  });
  after(async () => {
    await nginx?.stop();
    await hub?.stop();
  });

  // Fetches the hub's list until `check` holds of its text, and puts it where nginx and openssl read it.
  const fetchLists = (check) => until('the hub has made its list', async () => {
    const { status, body } = await curl(hub, 'bootstrap', '/crl/all.crl');
    if (status !== 200) return false;
    const pem = await openssl(['crl', '-inform', 'DER'], body);
    const text = (await openssl(['crl', '-noout', '-text'], pem)).toString();
    if (!check(text)) return false;
    await writeFile(`${lists}.new`, (await readFile(root, 'utf8')) + pem);
    await rename(`${lists}.new`, lists);
    return true;
  }, 30000);

  const serialOf = async (device) => (await openssl(['x509', '-in', device.certificate, '-noout', '-serial'])).toString().trim().replace('serial=', '');
  const move = (verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });
  const atHub = async (device) => (await as(hub, device, '/v1/ledger/checkpoint')).status;
  const atOpenssl = async (device) => {
    const words = ['verify', '-crl_check_all', '-CAfile', hub.roots, '-untrusted', join(hub.state, 'signer/issuing.pem'), '-CRLfile', lists, device.certificate];
    return run('openssl', words).then(() => 200, (error) => (/certificate revoked/.test(error.stderr) ? 400 : error.stderr));
  };

  it('lets in whom the hub trusts, and refuses who was cut off, from the next list on', async () => {
    const names = ['good', 'revoked', 'held', 'released'];
    const devices = {};
    for (const name of names) devices[name] = await enrolledDevice(hub, name);
    await until('there is a checkpoint', async () => (await atHub(devices.good)) === 200);
    assert.equal(await nginx.ask([]), 400, 'nobody comes in without a certificate');
    for (const name of names) assert.equal(await nginx.as(devices[name]), 200, name);

    await move('revoke', 'revoked');
    await move('quarantine', 'held');
    await move('quarantine', 'released');
    const ended = await Promise.all(['revoked', 'held', 'released'].map((name) => serialOf(devices[name])));
    assert.equal(await nginx.as(devices.revoked), 200, 'it goes by the list it has');
    await fetchLists((text) => ended.every((serial) => text.includes(serial)));
    await nginx.reload();
    const agree = async (expected) => {
      for (const name of names) {
        assert.equal(await nginx.as(devices[name]), expected[name], name);
        assert.equal(await atOpenssl(devices[name]), expected[name], name);
        assert.equal(await atHub(devices[name]), expected[name] === 200 ? 200 : 403, name);
      }
    };
    await agree({ good: 200, revoked: 400, held: 400, released: 400 });
    assert.match(await nginx.log(), /verify error: \(23:certificate revoked\)/);

    await move('release', 'released');
    await fetchLists((text) => !text.includes(ended[2]));
    await nginx.reload();
    await agree({ good: 200, revoked: 400, held: 400, released: 200 });
  });

  it('lets nobody in without the root\'s own list', async () => {
    const device = await enrolledDevice(hub, 'unlucky');
    assert.equal(await nginx.as(device), 200);
    const both = await readFile(lists, 'utf8');
    await writeFile(lists, both.replace(await readFile(root, 'utf8'), ''));
    await nginx.reload();
    assert.equal(await nginx.as(device), 400);
    assert.match(await atOpenssl(device), /unable to get certificate CRL/);
    await writeFile(lists, both);
    await nginx.reload();
    assert.equal(await nginx.as(device), 200);
  });

  it('gets no list of the root\'s while the medium with its key is away', async () => {
    const away = join(hub.folder, 'away');
    await rename(join(hub.state, 'offline'), away);
    const { code, stdout, stderr } = await hub.cli('--state', hub.state, 'ca', 'crl');
    await rename(away, join(hub.state, 'offline'));
    assert.equal(code, 4);
    assert.equal(stdout, '');
    assert.match(stderr, /put the offline medium in its place/);
    const there = await hub.cli('--json', '--state', hub.state, 'ca', 'crl', '--valid', '2h');
    assert.equal(there.code, 0);
    assert.match(JSON.parse(there.stdout).crl, /^-----BEGIN X509 CRL-----\n[^]*-----END X509 CRL-----\n$/);
    assert.equal((await hub.cli('--state', hub.state, 'ca', 'crl', '--valid', '59m')).code, 2);
  });
});
