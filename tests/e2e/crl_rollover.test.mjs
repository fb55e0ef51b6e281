// Lists of revoked certificates while the authority is rolled over: from `ca switch` to `ca finish` there are
// those of both, where the certificates of either say, and openssl agrees with the hub about all of them.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { copyFile, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, enrolledDevice, newKey, openssl, plain, until } from './lib/hub.mjs';

const run = promisify(execFile);
const SHARDS = 2;
const BASE = 'http://status.example';

describe('lists, while the authority is rolled over', { timeout: 180000 }, () => {
  let hub, old, lost, held, fresh, stolen; // devices: of the former authority, then of the new one
  const signer = (name) => join(hub.state, 'signer', name);

  before(async () => {
    hub = await Hub.start({ 'listen-status': '127.0.0.1:0', 'public-url': BASE, 'crl-shards': String(SHARDS), 'status-per-minute': '100000' });
    await hub.factory();
    [old, lost, held] = [await newDevice('old'), await newDevice('lost'), await newDevice('held')];
    await move('quarantine', 'held');
  });
  after(() => hub.stop());

  const move = (verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });
  const roll = async (...words) => {
    const { code, stderr } = await hub.cli('--state', hub.state, 'ca', ...words);
    assert.equal(code, 0, stderr);
  };
  const textOf = async (certificate) => String(await openssl(['x509', '-in', certificate, '-noout', '-text']));
  const pointOf = async (certificate) => new RegExp(`URI:${BASE}(/crl/\\S+)`).exec(await textOf(certificate))[1];

  async function newDevice(serial) {
    const device = await enrolledDevice(hub, serial);
    const [, number] = String(await openssl(['x509', '-in', device.certificate, '-noout', '-serial'])).trim().split('=');
    const point = await pointOf(device.certificate);
    return { ...device, number, point, authority: point.split('/')[2], shard: point.split('/').at(-1).replace('.crl', '') };
  }

  // As whoever follows a certificate does: {status, pem, text, ...}.
  async function fetched(path) {
    const answer = await plain(hub, 'GET', path);
    if (answer.status !== 200) return answer;
    const der = join(hub.folder, `${path.replaceAll('/', '-')}-${answer.headers.etag.replaceAll('"', '')}`);
    await writeFile(der, answer.body);
    await openssl(['crl', '-inform', 'DER', '-in', der, '-out', `${der}.pem`]);
    return { ...answer, pem: `${der}.pem`, text: String(await openssl(['crl', '-inform', 'DER', '-in', der, '-noout', '-text'])) };
  }
  const once = (path, what, check) => until(what, async () => {
    const list = await fetched(path);
    return list.status === 200 && check(list) && list;
  }, 30000);
  const lists = (list, device) => list.text.includes(`Serial Number: ${device.number}`);
  const countIn = (list) => list.text.split('Serial Number: ').length - 1;
  const numberIn = (list) => BigInt(/X509v3 CRL Number:\s+(0x[0-9A-F]+|\d+)/.exec(list.text)[1]);

  // What `openssl verify -crl_check` says by these lists: 'good', or its reason.
  async function verify(device, found, words = []) {
    const files = ['-CAfile', hub.roots, '-untrusted', join(hub.folder, 'authorities.pem'), ...[found].flat().flatMap(({ pem }) => ['-CRLfile', pem])];
    try {
      await run('openssl', ['verify', '-crl_check', ...words, ...files, device.certificate]);
      return 'good';
    } catch (error) {
      return /lookup: (.*)/.exec(error.stderr)?.[1] ?? error.stderr;
    }
  }

  // By the list that each certificate names, and by those of all.
  async function agrees(fate) {
    const all = new Map();
    for (const [device, word] of fate)
      all.set(device.authority, await once(`/crl/${device.authority}/all.crl`, `the list of all has ${device.serial}`, (l) => lists(l, device) === (word !== 'good')));
    for (const [device, word] of fate) {
      const list = await once(device.point, `its list has ${device.serial}`, (l) => lists(l, device) === (word !== 'good'));
      for (const words of [[], ['-extended_crl']]) assert.equal(await verify(device, list, words), word, device.serial);
      assert.equal(await verify(device, [...all.values()]), word, `${device.serial}, by the lists of all`);
    }
    return all;
  }

  it('go on for the former authority, and begin for the new one, each with its own entries', async () => {
    await roll('prepare');
    await roll('switch');
    await hub.restart();
    fresh = await newDevice('fresh');
    stolen = await newDevice('stolen');
    await writeFile(join(hub.folder, 'authorities.pem'), (await readFile(signer('issuing.pem'), 'utf8')) + (await readFile(signer('previous-issuing.pem'), 'utf8')));
    assert.notEqual(fresh.authority, old.authority);
    assert.equal(lost.authority, old.authority);
    await move('revoke', 'lost');
    await move('revoke', 'stolen');
    const all = await agrees([[old, 'good'], [lost, 'certificate revoked'], [held, 'certificate revoked'], [fresh, 'good'], [stolen, 'certificate revoked']]);
    assert.equal(countIn(all.get(old.authority)), 2);
    assert.equal(countIn(all.get(fresh.authority)), 1);
    assert.ok(!lists(all.get(fresh.authority), lost) && !lists(all.get(old.authority), stolen));
    assert.notEqual(await verify(fresh, all.get(old.authority)), 'good', 'the other\'s list says nothing of it');
    assert.notEqual(await verify(old, all.get(fresh.authority)), 'good');
    await move('release', 'held');
    await agrees([[held, 'good'], [lost, 'certificate revoked'], [fresh, 'good']]);
  });

  it('have deltas for both', async () => {
    const [late, later] = [await newDevice('late'), held];
    const base = new Map();
    for (const device of [late, later]) base.set(device, await once(device.point, 'a list without it', (l) => !lists(l, device)));
    await until('the second has passed in which those lists were numbered', async () => {
      const numbers = await Promise.all([late, later].map(({ point }) => fetched(point.replace('.crl', '-delta.crl'))));
      return numbers.every(({ status }) => status === 200) && Math.floor(Date.now() / 1000) > Number(numberIn(base.get(late)));
    });
    await move('revoke', 'late');
    await move('revoke', 'held');
    for (const device of [late, later]) {
      const list = base.get(device);
      const [, url] = new RegExp(`Freshest CRL:\\s+Full Name:\\s+URI:${BASE}(\\S+)`).exec(list.text);
      const delta = await once(url, 'its delta has it', (l) => lists(l, device) && numberIn(l) > numberIn(list));
      assert.equal(await verify(device, list, ['-extended_crl']), 'good');
      assert.equal(await verify(device, [list, delta], ['-extended_crl', '-use_deltas']), 'certificate revoked', device.serial);
    }
  });

  it('are the former\'s where no authority is named: certificates of earlier versions say so', async () => {
    const key = await newKey(join(hub.folder, 'earlier.key'));
    const certificate = join(hub.folder, 'earlier.crt');
    const extensions = join(hub.folder, 'earlier.cnf');
    await writeFile(extensions, `authorityKeyIdentifier=keyid\ncrlDistributionPoints=URI:${BASE}/crl/${SHARDS}/${lost.shard}.crl\n`);
    await openssl(['req', '-new', '-key', key, '-subj', '/CN=earlier', '-out', join(hub.folder, 'earlier.csr')]);
    await openssl(['x509', '-req', '-in', join(hub.folder, 'earlier.csr'), '-CA', signer('previous-issuing.pem'), '-CAkey', signer('previous-issuing.key'),
      '-set_serial', `0x${lost.number}`, '-days', '1', '-extfile', extensions, '-out', certificate]);
    const list = await once(await pointOf(certificate), 'there is one', () => true);
    assert.equal(await verify({ certificate }, list), 'certificate revoked', 'as the one with that number was');
    const other = await fetched(`/crl/${SHARDS}/${1 - Number(lost.shard)}.crl`);
    assert.notEqual(await verify({ certificate }, other), 'certificate revoked');
    assert.notEqual(await verify({ certificate }, other), 'good');
    const all = await fetched('/crl/all.crl');
    assert.ok(lists(all, lost) && !lists(all, stolen));
    assert.deepEqual(all.body, (await fetched(`/crl/${old.authority}/all.crl`)).body);
  });

  it('are served at once after a restart, with numbers that grow', async () => {
    const before = await Promise.all([old, fresh].map(({ authority }) => fetched(`/crl/${authority}/all.crl`)));
    await hub.restart('SIGKILL');
    for (const list of before) {
      const again = await fetched(`/crl/${(list === before[0] ? old : fresh).authority}/all.crl`);
      assert.equal(again.status, 200);
      assert.ok(numberIn(again) >= numberIn(list));
    }
    await agrees([[old, 'good'], [lost, 'certificate revoked'], [fresh, 'good'], [stolen, 'certificate revoked']]);
  });

  it('stop for an authority whose key was taken away; the other\'s go on', async () => {
    const key = signer('previous-issuing.key'), kept = join(hub.folder, 'kept.key');
    await copyFile(key, kept);
    await rm(key);
    await hub.restart();
    assert.equal((await fetched(old.point)).status, 404);
    const asked = await run('openssl', ['ocsp', '-issuer', signer('previous-issuing.pem'), '-cert', old.certificate, '-noverify',
      '-url', `http://127.0.0.1:${hub.ports.status}/ocsp`, '-timeout', '20']).catch((error) => error);
    assert.match(asked.stdout, /Responder Error: unauthorized/, 'nor does anybody speak for it by OCSP');
    await agrees([[fresh, 'good'], [stolen, 'certificate revoked']]);
    await writeFile(key, await readFile(kept), { mode: 0o400 });
    await hub.restart();
    await agrees([[old, 'good'], [lost, 'certificate revoked'], [fresh, 'good']]);
  });

  it('stop for the former authority when it is given up, and nothing is left of them', async () => {
    const before = await fetched(`/crl/${fresh.authority}/all.crl`);
    await roll('finish', '--yes');
    await hub.restart();
    for (const path of [old.point, old.point.replace('.crl', '-delta.crl'), `/crl/${old.authority}/all.crl`, `/crl/${old.authority}/all-delta.crl`])
      assert.equal((await fetched(path)).status, 404, path);
    assert.deepEqual((await readdir(join(hub.state, 'crl'))).filter((name) => name.startsWith(old.authority)), []);
    const last = await newDevice('last');
    await move('revoke', 'last');
    const all = await agrees([[fresh, 'good'], [stolen, 'certificate revoked'], [last, 'certificate revoked']]);
    assert.ok(numberIn(all.get(fresh.authority)) > numberIn(before));
    assert.deepEqual((await fetched('/crl/all.crl')).body, all.get(fresh.authority).body);
    assert.ok(!lists(all.get(fresh.authority), lost), 'nor of what was the former\'s');
  });
});
