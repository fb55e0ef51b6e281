// A relying party that others wrote: nginx asks the hub about every client, and agrees with it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Hub, as, csrBody, enrolledDevice, keepCertificate, newKey, openssl, renew, until } from './lib/hub.mjs';
import { Nginx, freePort } from './lib/nginx.mjs';

describe('nginx that asks the hub about its clients', { timeout: 120000 }, () => {
  let hub;
  let nginx;
  before(async () => {
    const port = await freePort();
    hub = await Hub.start({ 'listen-status': `127.0.0.1:${port}`, 'public-url': `http://127.0.0.1:${port}`, 'status-per-minute': '100000' });
    await hub.factory();
    // Of the chain, the device's certificate is the hub's to speak of; the issuing one is the root's.
    nginx = await Nginx.start(hub, 'ssl_ocsp leaf; ssl_ocsp_cache off;');
  });
  after(async () => {
    await nginx?.stop();
    await hub?.stop();
  });

  const move = (verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });
  const atHub = async (device) => (await as(hub, device, '/v1/ledger/checkpoint')).status;
  const agree = async (device, status) => {
    assert.equal(await nginx.as(device), status);
    assert.equal(await atHub(device), status === 200 ? 200 : 403);
  };

  it('lets in whom the hub trusts, and refuses who was cut off, at once', async () => {
    assert.equal(await nginx.ask([]), 400, 'nobody comes in without a certificate');
    const device = await enrolledDevice(hub, 'visitor');
    await until('there is a checkpoint', async () => (await atHub(device)) === 200);
    await agree(device, 200);
    await move('quarantine', 'visitor');
    await agree(device, 400);
    await move('release', 'visitor');
    await agree(device, 200);
    const other = await enrolledDevice(hub, 'neighbour');
    await move('revoke', 'visitor');
    await agree(device, 400);
    await agree(other, 200);
    assert.match(await nginx.log(), /verify error: certificate revoked/);
    await move('retire', 'neighbour');
    await agree(other, 400);
  });

  it('refuses a certificate that was replaced, and takes the new one', async () => {
    const device = await enrolledDevice(hub, 'renewed');
    const key = await newKey(join(hub.folder, 'renewed2.key'));
    const answer = await renew(hub, device, await csrBody(key, '/CN=renewed'));
    assert.equal(answer.status, 200);
    const fresh = { key, certificate: await keepCertificate(answer, join(hub.folder, 'renewed2.crt')) };
    await agree(fresh, 200);
    await until('the one before is retired', async () => (await atHub(device)) === 403);
    await agree(device, 400);
    await agree(fresh, 200);
  });

  it('lets nobody in while the hub is away, and everybody when it is back', async () => {
    const device = await enrolledDevice(hub, 'patient');
    await agree(device, 200);
    await hub.end('SIGKILL');
    assert.equal(await nginx.as(device), 400);
    await hub.launch();
    await agree(device, 200);
  });

  it('lets nobody in whom the hub never issued a certificate, whoever signed it', async () => {
    const key = await newKey(join(hub.folder, 'forged.key'));
    const certificate = join(hub.folder, 'forged.crt');
    const request = await openssl(['req', '-new', '-key', key, '-subj', '/CN=forged']);
    const extensions = join(hub.folder, 'forged.ext');
    await writeFile(extensions, `extendedKeyUsage=clientAuth\nauthorityInfoAccess=OCSP;URI:${hub.config['public-url']}/ocsp\n`);
    const signer = join(hub.state, 'signer');
    await writeFile(certificate, await openssl(['x509', '-req', '-CA', `${signer}/issuing.pem`, '-CAkey', `${signer}/issuing.key`, '-set_serial', '0x6a00000000000000000000000000abcd',
                                                '-days', '1', '-extfile', extensions], request));
    assert.equal(await nginx.as({ key, certificate }), 400);
    assert.equal((await hub.metrics()).get('holdfast_ocsp_responses_total{status="unknown"}'), 1, 'it was asked');
  });
});
