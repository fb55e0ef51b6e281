// Lists of revoked certificates, as others use them: openssl says of each certificate what the hub says.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import http from 'node:http';
import { readFile, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, as, csrBody, curl, enrolledDevice, keepCertificate, newKey, openssl, renew, until } from './lib/hub.mjs';

const run = promisify(execFile);
const SELF = '/v1/device/self';

const move = async (hub, verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });

// Has openssl read a list that was fetched, and check its signature.
async function readList(hub, name, answer) {
  const der = join(hub.folder, name);
  await writeFile(der, answer.body);
  await openssl(['crl', '-inform', 'DER', '-in', der, '-out', `${der}.pem`]);
  const { stderr } = await run('openssl', ['crl', '-inform', 'DER', '-in', der, '-noout', '-verify', '-CAfile', hub.issuing]);
  assert.match(stderr, /verify OK/);
  const text = (await openssl(['crl', '-inform', 'DER', '-in', der, '-noout', '-text'])).toString();
  const number = BigInt(/X509v3 CRL Number:\s+(0x[0-9A-F]+|\d+)/.exec(text)[1]);
  return { ...answer, pem: `${der}.pem`, text, number };
}

async function fetchList(hub, name, words = []) {
  const answer = await curl(hub, 'bootstrap', `/crl/${name}`, words);
  return answer.status === 200 ? readList(hub, name, answer) : answer;
}

// The first list for which `check` holds.
const listOnce = (hub, name, what, check, words) => until(what, async () => {
  const list = await fetchList(hub, name, words);
  return list.status === 200 && (await check(list)) && list;
}, 30000);

// The serial number of the certificate in a file, as openssl writes it.
async function serialOf(certificate) {
  const text = (await openssl(['x509', '-in', certificate, '-noout', '-serial'])).toString();
  return text.trim().replace('serial=', '');
}
const lists = async (list, certificate) => list.text.includes(`Serial Number: ${await serialOf(certificate)}`);

// What openssl verify says of a certificate: 'good', or its reason.
async function verify(hub, list, certificate, words = []) {
  const files = ['-CAfile', hub.roots, '-untrusted', hub.issuing, ...[list].flat().flatMap(({ pem }) => ['-CRLfile', pem])];
  try {
    await run('openssl', ['verify', '-crl_check', ...words, ...files, certificate]);
    return 'good';
  } catch (error) {
    return /lookup: (.*)/.exec(error.stderr)?.[1] ?? error.stderr;
  }
}

async function startHub(config) {
  const hub = await Hub.start(config);
  hub.issuing = join(hub.state, 'signer/issuing.pem');
  await hub.factory();
  return hub;
}

describe('the list of all revoked certificates', () => {
  let hub;
  before(async () => (hub = await startHub()));
  after(() => hub.stop());

  const current = (what, check) => listOnce(hub, 'all.crl', what, check);

  it('is there soon after the first start, empty, and can be kept until its nextUpdate', async () => {
    const list = await current('there is one', () => true);
    assert.match(list.text, /No Revoked Certificates/);
    assert.equal(list.headers['content-type'], 'application/pkix-crl');
    assert.equal(Number(list.headers['content-length']), list.body.length);
    const [, seconds] = /^public, max-age=(\d+)$/.exec(list.headers['cache-control']);
    assert.ok(Number(seconds) > 86400 - 120 && Number(seconds) <= 86400, seconds);
    const [, next] = /Next Update: (.*)/.exec(list.text);
    assert.ok(Math.abs(Date.parse(next) - Date.now() - Number(seconds) * 1000) < 60000);
    const [, last] = /Last Update: (.*)/.exec(list.text);
    assert.equal(Date.parse(list.headers['last-modified']), Date.parse(last));
    const again = await curl(hub, 'bootstrap', '/crl/all.crl', ['-H', `If-None-Match: ${list.headers.etag}`]);
    assert.equal(again.status, 304);
    assert.equal(again.headers.etag, list.headers.etag);
    assert.equal(again.body.length, 0);
  });

  it('agrees with the hub through every move in a device\'s life', async () => {
    const fate = { 'c-good': [], 'c-revoked': ['revoke'], 'c-retired': ['retire'], 'c-held': ['quarantine'],
                   'c-released': ['quarantine', 'release'], 'c-again': ['quarantine', 'release', 'quarantine'],
                   'c-worse': ['quarantine', 'revoke'] };
    const devices = {};
    for (const serial of Object.keys(fate)) devices[serial] = await enrolledDevice(hub, serial);
    for (const device of Object.values(devices)) assert.equal((await as(hub, device, SELF)).status, 200);
    for (const [serial, verbs] of Object.entries(fate)) for (const verb of verbs) await move(hub, verb, serial);
    const ended = ['c-revoked', 'c-retired', 'c-held', 'c-again', 'c-worse'];
    const list = await current('it lists what has ended', async (l) => {
      for (const serial of ended) if (!(await lists(l, devices[serial].certificate))) return false;
      return !(await lists(l, devices['c-released'].certificate));
    });
    for (const [serial, device] of Object.entries(devices)) {
      assert.equal(await verify(hub, list, device.certificate), ended.includes(serial) ? 'certificate revoked' : 'good', serial);
    }
    const entry = async (serial) => list.text.split('Serial Number: ').find((t) => t.startsWith(devices[serial].serialNumber));
    for (const device of Object.values(devices)) device.serialNumber = await serialOf(device.certificate);
    assert.match(await entry('c-held'), /Certificate Hold/);
    assert.match(await entry('c-again'), /Certificate Hold/);
    assert.match(await entry('c-retired'), /Cessation Of Operation/);
    assert.match(await entry('c-revoked'), /Privilege Withdrawn/);
    assert.match(await entry('c-worse'), /Privilege Withdrawn/);
    assert.equal(list.text.split('Serial Number: ').length - 1, ended.length, 'each stands in it once');
  });

  it('lists the certificate that a newer one has replaced, once that is used', async () => {
    const device = await enrolledDevice(hub, 'c-renews');
    assert.equal((await as(hub, device, SELF)).status, 200);
    const key = await newKey(join(hub.folder, 'c-renews2.key'));
    const answer = await renew(hub, device, await csrBody(key, '/CN=c-renews'));
    assert.equal(answer.status, 200);
    const fresh = { key, certificate: await keepCertificate(answer, join(hub.folder, 'c-renews2.crt')) };
    assert.equal((await as(hub, fresh, SELF)).status, 200);
    const list = await current('the old one is listed', (l) => lists(l, device.certificate));
    assert.match(list.text.split(`Serial Number: ${await serialOf(device.certificate)}`)[1], /^[^]{0,200}Superseded/);
    assert.equal(await verify(hub, list, device.certificate), 'certificate revoked');
    assert.equal(await verify(hub, list, fresh.certificate), 'good');
  });

  it('holds what a device in quarantine renews to', async () => {
    const device = await enrolledDevice(hub, 'c-inside');
    assert.equal((await as(hub, device, SELF)).status, 200);
    await move(hub, 'quarantine', 'c-inside');
    const key = await newKey(join(hub.folder, 'c-inside2.key'));
    const answer = await renew(hub, device, await csrBody(key, '/CN=c-inside'));
    assert.equal(answer.status, 200);
    const certificate = await keepCertificate(answer, join(hub.folder, 'c-inside2.crt'));
    const held = await current('it is listed', (l) => lists(l, certificate));
    assert.equal(await verify(hub, held, certificate), 'certificate revoked');
    await move(hub, 'release', 'c-inside');
    const released = await current('it is not any more', async (l) => !(await lists(l, certificate)));
    assert.equal(await verify(hub, released, certificate), 'good');
    assert.equal(await verify(hub, released, device.certificate), 'good');
  });

  it('has numbers that grow, over restarts, and is served at once after one', async () => {
    const first = await current('there is one', () => true);
    const device = await enrolledDevice(hub, 'c-numbered');
    await move(hub, 'revoke', 'c-numbered');
    const second = await current('it is listed', (l) => lists(l, device.certificate));
    assert.ok(second.number > first.number);
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      await hub.restart(signal);
      const served = await fetchList(hub, 'all.crl');
      assert.equal(served.status, 200, 'from its file');
      assert.ok(served.number >= second.number);
      assert.ok(await lists(served, device.certificate));
    }
    const other = await enrolledDevice(hub, 'c-numbered2');
    await move(hub, 'revoke', 'c-numbered2');
    const third = await current('the next is listed', (l) => lists(l, other.certificate));
    assert.ok(third.number > second.number);
  });

  it('is made anew where its file is gone or broken', async () => {
    const before = await fetchList(hub, 'all.crl');
    await hub.end();
    const [file] = (await readdir(join(hub.state, 'crl'))).filter((name) => /^[0-9a-f]{8}-all\.crl$/.test(name));
    await truncate(join(hub.state, 'crl', file), 100);
    await hub.launch();
    const list = await current('there is one again', () => true);
    assert.ok(list.number > before.number);
    const others = async () => (await readdir(join(hub.state, 'crl'))).filter((name) => !/^([0-9a-f]{8}-all\.crl|numbers)$/.test(name));
    await until('nothing else is left in its folder', async () => (await others()).length === 0);
  });

  it('is nowhere else', async () => {
    for (const name of ['0.crl', '1.crl', '256.crl', '007.crl', '-1.crl', '18446744073709551616.crl', 'all', 'all.crl.crl', 'allx.crl', 'all-delta.crl', 'all-delta', 'numbers', 'none.crl']) {
      const answer = await curl(hub, 'bootstrap', `/crl/${name}`);
      assert.equal(answer.status, 404, name);
      assert.ok(['crl-not-found', 'route-not-found'].includes(answer.json.code), name);
    }
    const answer = await curl(hub, 'bootstrap', '/crl/7.crl');
    assert.equal(answer.json.code, 'crl-not-found');
    assert.match(answer.json.detail, /all\.crl/);
    assert.equal((await curl(hub, 'bootstrap', '/crl/..%2fnumbers')).status, 404);
    assert.equal((await curl(hub, 'bootstrap', '/crl/all.crl?x=1')).status, 400);
  });
});

describe('lists of shards, and deltas', () => {
  const SHARDS = 4;
  let hub;
  before(async () => (hub = await startHub({ 'listen-status': '127.0.0.1:0', 'public-url': 'http://status.example', 'crl-shards': String(SHARDS) })));
  after(() => hub.stop());

  // Over plain HTTP, as whoever follows the URL in a certificate does.
  const fetchStatus = (path) => new Promise((done, failed) => {
    http.get(`http://127.0.0.1:${hub.ports.status}${path}`, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) }));
    }).on('error', failed);
  });
  const fetchShard = async (name) => {
    const answer = await fetchStatus(`/crl/${name}`);
    return answer.status === 200 ? readList(hub, name.replaceAll('/', '-'), answer) : answer;
  };
  const shardOnce = (name, what, check) => until(what, async () => {
    const list = await fetchShard(name);
    return list.status === 200 && (await check(list)) && list;
  }, 30000);

  // A device, with the name of the list that its certificate names.
  const newDevice = async (serial) => {
    const device = await enrolledDevice(hub, serial);
    const text = (await openssl(['x509', '-in', device.certificate, '-noout', '-text'])).toString();
    const [, url] = /X509v3 CRL Distribution Points:\s+Full Name:\s+URI:(\S+)/.exec(text);
    const [, authority, shard] = /^http:\/\/status\.example\/crl\/([0-9a-f]{8})\/4\/(\d)\.crl$/.exec(url);
    assert.ok(text.replaceAll(':', '').includes(authority.toUpperCase()), 'the beginning of its authorityKeyIdentifier');
    const number = BigInt(`0x${await serialOf(device.certificate)}`);
    assert.equal(BigInt(shard), number % BigInt(SHARDS), 'by the last bits of its serial number');
    const list = `${authority}/${SHARDS}/${shard}`;
    return { ...device, shard: Number(shard), list: `${list}.crl`, delta: `${list}-delta.crl`, plain: `${SHARDS}/${shard}.crl` };
  };

  it('are named by certificates, and agree with the hub', async () => {
    const devices = [];
    for (let i = 0; i < 6; i++) devices.push(await newDevice(`s-${i}`));
    await move(hub, 'revoke', 's-0');
    await move(hub, 'quarantine', 's-1');
    await move(hub, 'retire', 's-2');
    for (const [i, device] of devices.entries()) {
      const list = await shardOnce(device.list, 'its list is right', async (l) => (await lists(l, device.certificate)) === i < 3);
      assert.match(list.text, /X509v3 Issuing Distribution Point: critical/);
      for (const words of [[], ['-extended_crl']])
        assert.equal(await verify(hub, list, device.certificate, words), i < 3 ? 'certificate revoked' : 'good');
      assert.deepEqual((await fetchShard(device.plain)).body, list.body, 'where certificates of earlier versions look');
      const other = await fetchShard(`${SHARDS}/${(device.shard + 1) % SHARDS}.crl`);
      assert.notEqual(await verify(hub, other, device.certificate), 'good', 'a list of others says nothing of it');
    }
    const all = await listOnce(hub, 'all.crl', 'the list of all has all', async (l) => l.text.split('Serial Number: ').length === 4);
    const counted = await Promise.all([...Array(SHARDS).keys()].map((shard) => fetchShard(`${SHARDS}/${shard}.crl`)));
    assert.equal(counted.map(({ text }) => text.split('Serial Number: ').length - 1).reduce((a, b) => a + b), 3, 'each in one of them');
    assert.match(all.text, /X509v3 Freshest CRL:\s+Full Name:\s+URI:http:\/\/status\.example\/crl\/[0-9a-f]{8}\/all-delta\.crl/);
    assert.doesNotMatch(all.text, /Issuing Distribution Point/);
  });

  it('tell by a delta what has changed since an older list', async () => {
    const [lost, back] = [await newDevice('d-lost'), await newDevice('d-back')];
    await move(hub, 'quarantine', 'd-back');
    for (const device of [lost, back]) {
      const held = device === back;
      const whole = await shardOnce(device.list, 'its list is right', async (l) => (await lists(l, device.certificate)) === held);
      device.older = { pem: join(hub.folder, `older-${device.serial}.pem`), number: whole.number };
      await writeFile(device.older.pem, await readFile(whole.pem));
    }
    const DELTAS = ['-extended_crl', '-use_deltas'];
    await until('the second has passed in which the older lists were numbered', async () => {
      const numbers = await Promise.all([lost, back].map(async ({ delta }) => (await fetchShard(delta)).number ?? 0n));
      return numbers.every((n) => n > 0n);
    });
    await move(hub, 'revoke', 'd-lost');
    await move(hub, 'release', 'd-back');
    for (const device of [lost, back]) {
      const delta = await shardOnce(device.delta, 'its delta has it', async (l) =>
        l.number > device.older.number && (await lists(l, device.certificate)) && (device === lost || /Remove From CRL/.test(l.text)));
      const [, base] = /X509v3 Delta CRL Indicator: critical\s+(0x[0-9A-F]+|\d+)/.exec(delta.text);
      assert.ok(BigInt(base) <= device.older.number, 'whoever has a list that is in date can use it');
      const both = [device.older, delta];
      assert.equal(await verify(hub, device.older, device.certificate), device === lost ? 'good' : 'certificate revoked');
      assert.equal(await verify(hub, both, device.certificate, DELTAS), device === lost ? 'certificate revoked' : 'good', device.serial);
      const [, seconds] = /max-age=(\d+)/.exec(delta.headers['cache-control']);
      assert.ok(Number(seconds) <= 3600, 'and need not be kept for long');
    }
  });

  it('are not there beyond their number, nor under another', async () => {
    for (const name of ['4/4.crl', '4/255.crl', '4/256.crl', '4/00.crl', '4/-1.crl', '2/0.crl', '8/7.crl', '0/0.crl', '4/all.crl', '4//1.crl', '4/1/1.crl', '04/1.crl', '4-1.crl', '4/9999999999999999999.crl', '4/1-delta-delta.crl',
      '00000000/4/1.crl', '1234567/4/1.crl', '00000000/all.crl', '/all.crl']) {
      const answer = await fetchStatus(`/crl/${name}`);
      assert.equal(answer.status, 404, name);
      const problem = JSON.parse(answer.body);
      if (problem.code !== 'route-not-found') assert.match(problem.detail, /there are 4 shards, 4\/0\.crl to 4\/3\.crl/, name);
    }
  });

  it('lead nowhere once their number is another, rather than to a list without a certificate', async () => {
    const device = await newDevice('s-moved');
    await move(hub, 'revoke', 's-moved');
    await shardOnce(device.list, 'it is listed', (l) => lists(l, device.certificate));
    hub.config['crl-shards'] = '16';
    await hub.restart();
    assert.equal((await fetchStatus(`/crl/${device.list}`)).status, 404);
    const all = await listOnce(hub, 'all.crl', 'the list of all goes on', (l) => lists(l, device.certificate));
    assert.equal(await verify(hub, all, device.certificate), 'certificate revoked');
    hub.config['crl-shards'] = '4';
    await hub.restart();
    const list = await shardOnce(device.list, 'it is back', (l) => lists(l, device.certificate));
    assert.equal(await verify(hub, list, device.certificate), 'certificate revoked');
  });
});
