// What several hubs tell others of certificates, by OCSP and by lists: each speaks for what its own authority has
// issued, of devices that were cut off anywhere, and of the others' certificates says nothing that is not so.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Fleet } from './lib/fleet.mjs';
import { as, csrBody, enrolledDevice, keepCertificate, newKey, openssl, plain, renew, until } from './lib/hub.mjs';

const run = promisify(execFile);
const SELF = '/v1/device/self';

describe('ocsp and lists over two hubs', { timeout: 180000 }, () => {
  let fleet, a, b;
  before(async () => {
    fleet = await Fleet.start(2, { config: { 'listen-status': '127.0.0.1:0', 'status-per-minute': '100000' } });
    [a, b] = fleet.hubs;
    for (const [i, hub] of fleet.hubs.entries()) { // each is asked at an address of its own
      hub.url = `http://status-${i + 1}.fleet.example`;
      hub.config['public-url'] = hub.url;
      await hub.restart();
      hub.issuing = join(hub.state, 'signer/issuing.pem');
      hub.authorities = join(hub.folder, 'authorities.pem');
      await writeFile(hub.authorities, (await readFile(hub.issuing, 'utf8')) + (await readFile(a.roots, 'utf8')));
    }
    await a.factory();
  });
  after(() => fleet.stop());

  const move = (hub, verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });

  // What a hub says of the certificate, asked for as one of `issuer`'s (a hub's): a signed word, or the name of an error.
  const ask = (hub, certificate, issuer, hash = '-sha1') => askFor(hub, ['-cert', certificate], issuer, hash);
  async function askFor(hub, what, issuer, hash = '-sha1') {
    const words = ['ocsp', hash, '-no_nonce', '-issuer', issuer.issuing, ...what, '-CAfile', issuer.authorities,
      '-url', `http://127.0.0.1:${hub.ports.status}/ocsp`, '-timeout', '20'];
    const { stdout, stderr } = await run('openssl', words).catch((error) => error);
    const error = stdout.match(/Responder Error: (\w+)/)?.[1];
    if (error) return error;
    assert.match(stderr, /Response verify OK/, stdout + stderr);
    return stdout.match(/: (good|revoked|unknown)$/m)?.[1];
  }
  const urlIn = async (certificate) => String(await openssl(['x509', '-in', certificate, '-noout', '-ocsp_uri'])).trim();

  it('is named by each certificate at the hub that issued it, also after a renewal at the other', async () => {
    const device = await enrolledDevice(a, 'moves');
    assert.equal(await urlIn(device.certificate), `${a.url}/ocsp`);
    assert.equal(await urlIn((await enrolledDevice(b, 'stays')).certificate), `${b.url}/ocsp`);
    assert.equal((await as(a, device, SELF)).status, 200);
    const key = await newKey(join(b.folder, 'moves.key'));
    const answer = await renew(b, device, await csrBody(key, '/CN=moves'));
    assert.equal(answer.status, 200);
    const renewed = { key, certificate: await keepCertificate(answer, join(b.folder, 'moves.crt')) };
    assert.equal(await urlIn(renewed.certificate), `${b.url}/ocsp`);
    assert.equal(await ask(b, renewed.certificate, b), 'good');
    assert.equal(await ask(a, device.certificate, a), 'good', 'until the new one is used');
    assert.equal((await as(b, renewed, SELF)).status, 200);
    assert.equal(await ask(a, device.certificate, a), 'revoked', 'superseded by one of the other hub\'s');
  });

  it('says revoked at once of what was cut off at the other hub', async () => {
    for (const [home, other, verb] of [[a, b, 'revoke'], [b, a, 'revoke'], [a, b, 'quarantine'], [b, a, 'retire']]) {
      const serial = `${verb}-${fleet.hubs.indexOf(home)}`;
      const { certificate } = await enrolledDevice(home, serial);
      for (const hash of ['-sha1', '-sha256']) assert.equal(await ask(home, certificate, home, hash), 'good');
      await move(other, verb, serial);
      for (const hash of ['-sha1', '-sha256']) assert.equal(await ask(home, certificate, home, hash), 'revoked', `${serial} ${hash}`);
      if (verb !== 'quarantine') continue;
      await move(other, 'release', serial);
      assert.equal(await ask(home, certificate, home), 'good');
    }
  });

  it('is refused by a hub that is asked for the other\'s certificate, whatever has become of that', async () => {
    for (const [home, other] of [[a, b], [b, a]]) {
      const serial = `asked-${fleet.hubs.indexOf(home)}`;
      const { certificate } = await enrolledDevice(home, serial);
      for (const hash of ['-sha1', '-sha256']) assert.equal(await ask(other, certificate, home, hash), 'unauthorized');
      await move(home, 'revoke', serial);
      assert.equal(await ask(other, certificate, home), 'unauthorized');
      assert.equal(await ask(home, certificate, home), 'revoked');
    }
  });

  it('knows nothing of a serial number that another authority gave, under its own name', async () => {
    const { certificate } = await enrolledDevice(a, 'mixed-up');
    const [, serial] = String(await openssl(['x509', '-in', certificate, '-noout', '-serial'])).trim().split('=');
    const number = ['-serial', `0x${serial}`];
    assert.equal(await askFor(a, number, a), 'good');
    assert.equal(await askFor(b, number, b), 'unknown', 'it has issued no such certificate');
    await move(b, 'revoke', 'mixed-up');
    assert.equal(await askFor(b, number, b), 'unknown');
    assert.equal(await askFor(a, number, a), 'revoked');
  });

  it('makes the lists of what its own authority has issued, and serves no other', async () => {
    const fetchList = async (hub, path) => {
      const answer = await plain(hub, 'GET', path);
      if (answer.status !== 200) return answer;
      const der = join(hub.folder, 'list.der');
      await writeFile(der, answer.body);
      const text = String(await openssl(['crl', '-inform', 'DER', '-in', der, '-noout', '-text']));
      await openssl(['crl', '-inform', 'DER', '-in', der, '-out', `${der}.pem`]);
      return { ...answer, pem: `${der}.pem`, text };
    };
    for (const [home, other] of [[a, b], [b, a]]) {
      const serial = `listed-${fleet.hubs.indexOf(home)}`;
      const { certificate } = await enrolledDevice(home, serial);
      const text = String(await openssl(['x509', '-in', certificate, '-noout', '-text', '-serial']));
      const [, path] = new RegExp(`URI:${home.url}(/crl/\\S+)`).exec(text);
      const [, number] = /^serial=(\w+)$/m.exec(text);
      await move(other, 'revoke', serial);
      const list = await until('its issuer lists it', async () => {
        const found = await fetchList(home, path);
        return found.status === 200 && found.text.includes(`Serial Number: ${number}`) && found;
      }, 30000);
      const words = ['verify', '-crl_check', '-CAfile', home.authorities, '-CRLfile', list.pem, certificate];
      assert.match((await run('openssl', words).catch((error) => error)).stderr, /certificate revoked/);
      assert.equal((await fetchList(other, path)).status, 404);
      const theirs = await fetchList(other, '/crl/all.crl');
      assert.equal(theirs.status, 200);
      assert.ok(!theirs.text.includes(`Serial Number: ${number}`));
    }
  });
});
