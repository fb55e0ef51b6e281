// What the hub says of a certificate, asked by openssl and curl; and what it does for those who ask for
// other things.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hub, as, csrBody, enrolledDevice, keepCertificate, newKey, openssl, plain, renew, until } from './lib/hub.mjs';

const run = promisify(execFile);
const VALIDITY = 600;
const WITHDRAWN = /^(privilegeWithdrawn|\(UNKNOWN\))$/; // OpenSSL 3.0 has no word for it

describe('ocsp', () => {
  let hub;
  let authorities; // root and issuing certificate, in one file
  let issuing;
  let url;

  before(async () => {
    hub = await Hub.start({
      'listen-status': '127.0.0.1:0',
      'public-url': 'http://status.fleet.example:8446/of',
      'status-per-minute': '100000',
      'ocsp-validity': `${VALIDITY}s`,
    });
    await hub.factory();
    issuing = join(hub.state, 'signer/issuing.pem');
    authorities = join(hub.folder, 'authorities.pem');
    await writeFile(authorities, (await readFile(issuing, 'utf8')) + (await readFile(hub.roots, 'utf8')));
    url = `http://127.0.0.1:${hub.ports.status}/ocsp`;
  });
  after(() => hub.stop());

  const move = (verb, serial) => hub.must(200, 'POST', `/v1/devices/${serial}/${verb}`, { reason: 'a test' });

  // What `openssl ocsp` makes of the hub's answer: {said, reason, verified}.
  async function ask(what, { issuer = issuing, hash = '-sha1', words = [] } = {}) {
    const all = ['ocsp', hash, '-issuer', issuer, ...what, '-url', url, '-CAfile', authorities, '-timeout', '20', ...words];
    const { stdout, stderr } = await run('openssl', all).catch((error) => error);
    const said = stdout.match(/: (good|revoked|unknown)$/m)?.[1] ?? stdout.match(/Responder Error: (\w+)/)?.[1];
    return { said, reason: stdout.match(/Reason: (.*)$/m)?.[1], verified: stderr.includes('Response verify OK'), stdout, stderr };
  }
  const of = (device) => ['-cert', device.certificate];
  const expect = (answer, said, reason) => {
    assert.equal(answer.said, said, answer.stdout + answer.stderr);
    if (reason instanceof RegExp) assert.match(answer.reason, reason);
    else assert.equal(answer.reason, reason);
    assert.ok(answer.verified, answer.stderr);
  };

  const request = (device, ...words) => {
    const path = join(hub.folder, `${device.serial}.ocsp`);
    return openssl(['ocsp', '-issuer', issuing, '-cert', device.certificate, '-no_nonce', ...words, '-reqout', path]).then(() => readFile(path));
  };

  const TYPE = { 'Content-Type': 'application/ocsp-request' };
  const post = (body, headers = TYPE) => plain(hub, 'POST', '/ocsp', { body, headers });
  const get = (der, encode = encodeURIComponent, headers) => plain(hub, 'GET', `/ocsp/${encode(der.toString('base64'))}`, { headers });
  const errorOf = ({ status, body }) => {
    assert.equal(status, 200);
    assert.equal(body.subarray(0, 4).toString('hex'), '30030a01', 'no more than a status');
    assert.equal(body.length, 5);
    return { 1: 'malformed', 2: 'internal', 3: 'try later', 6: 'unauthorized' }[body[4]];
  };
  // The text that openssl makes of a response.
  async function textOf(response) {
    const path = join(hub.folder, 'response.der');
    await writeFile(path, response);
    return (await openssl(['ocsp', '-respin', path, '-noverify', '-resp_text'])).toString();
  }

  it('is named in the certificates of devices, and says good of them', async () => {
    const device = await enrolledDevice(hub, 'fine');
    const text = (await openssl(['x509', '-in', device.certificate, '-noout', '-ocsp_uri'])).toString();
    assert.equal(text, 'http://status.fleet.example:8446/of/ocsp\n');
    for (const hash of ['-sha1', '-sha256']) expect(await ask(of(device), { hash }), 'good', undefined);
    const serial = (await openssl(['x509', '-in', device.certificate, '-noout', '-serial'])).toString().trim().slice(7);
    expect(await ask(['-serial', `0x${serial}`]), 'good', undefined);
  });

  it('says revoked from the answer to the revocation on, whoever asked before', async () => {
    const device = await enrolledDevice(hub, 'lost');
    const der = await request(device);
    const before = await get(der);
    expect(await ask(of(device)), 'good', undefined);
    await move('revoke', 'lost');
    expect(await ask(of(device)), 'revoked', WITHDRAWN);
    expect(await ask(of(device), { hash: '-sha256' }), 'revoked', WITHDRAWN);
    for (const answer of [await get(der), await post(der)]) {
      assert.equal(answer.status, 200);
      assert.ok(!answer.body.equals(before.body));
      assert.match(await textOf(answer.body), /Cert Status: revoked/);
      assert.ok(answer.body.includes(Buffer.from('a0030a0109', 'hex')), 'privilegeWithdrawn');
    }
    await hub.restart('SIGKILL');
    url = `http://127.0.0.1:${hub.ports.status}/ocsp`;
    expect(await ask(of(device)), 'revoked', WITHDRAWN);
  });

  it('never says good of one that was revoked, however many ask while it happens', async () => {
    const device = await enrolledDevice(hub, 'raced');
    const der = await request(device);
    let cut = false;
    let wrong = 0;
    let asked = 0;
    const revoked = Buffer.from([0xa1]); // the tag of RevokedInfo stands behind the serial number
    const isRevoked = (body) => body.includes(Buffer.concat([der.subarray(-16), revoked]));
    const asking = Array.from({ length: 8 }, async () => {
      while (asked++ < 4000) {
        const sure = cut;
        const { body } = await post(der);
        if (sure && !isRevoked(body)) wrong++;
        if (sure && asked > 200) return;
      }
    });
    await move('revoke', 'raced');
    cut = true;
    await Promise.all(asking);
    assert.equal(wrong, 0);
    assert.ok(isRevoked((await post(der)).body), 'and the test would have seen it');
  });

  it('tells who cuts a device off until when others may go by what they were told', async () => {
    const device = await enrolledDevice(hub, 'exposed');
    const next = async () => Date.parse((await get(await request(device))).headers.expires);
    const last = await next();
    const cut = await move('quarantine', 'exposed');
    const until = Date.parse(cut.exposed_until);
    assert.ok(until >= last && until <= Date.now() + VALIDITY * 1000 + 1000);
    assert.equal((await hub.must(200, 'GET', '/v1/devices/exposed')).exposed_until, undefined);
    assert.equal((await move('release', 'exposed')).exposed_until, undefined);
    const { code, stdout, stderr } = await hub.cli('device', 'revoke', 'exposed', '--reason', 'a test', '--yes');
    assert.equal(code, 0, stderr);
    assert.match(stdout + stderr, /exposed is revoked\.\nOthers that asked by OCSP before may go by that answer until \d{4}-.* UTC \(in \d+ min\)\./);
    // One that never had a certificate exposes nobody.
    await hub.claims('unborn');
    assert.equal((await move('revoke', 'unborn')).exposed_until, undefined);
  });

  it('says why: quarantined ones are on hold and come back, replaced and retired ones do not', async () => {
    const device = await enrolledDevice(hub, 'suspect');
    await move('quarantine', 'suspect');
    expect(await ask(of(device)), 'revoked', 'certificateHold');
    await move('release', 'suspect');
    expect(await ask(of(device)), 'good', undefined);

    const key = await newKey(join(hub.folder, 'suspect2.key'));
    const answer = await renew(hub, device, await csrBody(key, '/CN=suspect'));
    assert.equal(answer.status, 200);
    const fresh = { serial: 'suspect2', key, certificate: await keepCertificate(answer, join(hub.folder, 'suspect2.crt')) };
    expect(await ask(of(fresh)), 'good', undefined);
    expect(await ask(of(device)), 'good', undefined);
    assert.equal((await as(hub, fresh, '/v1/device/self')).status, 200);
    // Two first uses: the old certificate's, which enrolment alone was not, would come before.
    await until('the certificate before is retired', async () => {
      const { certificates } = await hub.must(200, 'GET', '/v1/devices/suspect/certificates');
      return certificates[0].status === 'active';
    });
    expect(await ask(of(device)), 'revoked', 'superseded');
    await move('retire', 'suspect');
    expect(await ask(of(fresh)), 'revoked', 'cessationOfOperation');
    expect(await ask(of(device)), 'revoked', 'cessationOfOperation');
  });

  it('does not know what it has not issued, and does not speak for others', async () => {
    expect(await ask(['-serial', '0x6a0b0c0d0102030405060708090a0b0c']), 'unknown', undefined);
    expect(await ask(['-serial', '0']), 'unknown', undefined);
    const unknown = join(hub.folder, 'unknown.ocsp');
    await openssl(['ocsp', '-issuer', issuing, '-serial', '77', '-no_nonce', '-reqout', unknown]);
    const answer = await get(await readFile(unknown));
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers.etag, undefined);

    const device = await enrolledDevice(hub, 'asked');
    const key = await newKey(join(hub.folder, 'other.key'));
    const other = join(hub.folder, 'other.pem');
    await openssl(['req', '-x509', '-new', '-key', key, '-subj', '/CN=another authority', '-days', '1', '-out', other]);
    assert.equal((await ask(of(device), { issuer: other })).said, 'unauthorized');
    // The right name and another key.
    const subject = (await openssl(['x509', '-in', issuing, '-noout', '-subject', '-nameopt', 'multiline,-esc_msb'])).toString();
    const name = subject.match(/= (.*)$/m)[1];
    await openssl(['req', '-x509', '-new', '-utf8', '-key', key, '-subj', `/CN=${name}`, '-days', '1', '-out', other]);
    assert.equal((await ask(of(device), { issuer: other })).said, 'unauthorized');
    assert.equal((await ask(of(device), { hash: '-sha384' })).said, 'unauthorized');
  });

  it('is signed by a responder that the issuing key made for this alone', async () => {
    const device = await enrolledDevice(hub, 'judged');
    const { body } = await post(await request(device));
    const text = await textOf(body);
    assert.match(text, /OCSP Signing/);
    assert.match(text, /OCSP No Check/);
    assert.match(text, /CA:FALSE/);
    assert.match(text, /Responder Id: [0-9A-F]{40}\n/);
    const subjects = [...text.matchAll(/Subject: (.*)$/gm)].map((m) => m[1]);
    assert.deepEqual(subjects.map((s) => s.replaceAll(' = ', '=')), ['CN=fleet.example OCSP']);
    const from = Date.parse(text.match(/This Update: (.*)$/m)[1]);
    const to = Date.parse(text.match(/Next Update: (.*)$/m)[1]);
    assert.equal(to - from, VALIDITY * 1000);
    // The device's certificate does not do for it.
    const forged = join(hub.folder, 'forged.ocsp');
    const index = join(hub.folder, 'index.txt');
    await writeFile(index, '');
    await writeFile(`${index}.attr`, '');
    const requestFile = join(hub.folder, `${device.serial}.ocsp`);
    await openssl(['ocsp', '-index', index, '-CA', issuing, '-rsigner', device.certificate, '-rkey', device.key,
                   '-reqin', requestFile, '-respout', forged, '-ndays', '1']);
    const seen = await run('openssl', ['ocsp', '-issuer', issuing, ...of(device), '-no_nonce', '-respin', forged, '-CAfile', authorities]).catch((e) => e);
    assert.doesNotMatch(seen.stdout + seen.stderr, /Response verify OK/);
  });

  it('is answered over GET in every encoding, with what caches go by', async () => {
    const device = await enrolledDevice(hub, 'cached');
    const der = await request(device);
    const first = await get(der);
    assert.equal(first.status, 200);
    assert.equal(first.headers['content-type'], 'application/ocsp-response');
    const { etag, expires } = first.headers;
    assert.match(etag, /^"[0-9a-f]{32}"$/);
    const age = Number(first.headers['cache-control'].match(/^max-age=(\d+), public, no-transform, must-revalidate$/)[1]);
    assert.ok(age <= VALIDITY && age > VALIDITY / 2, String(age));
    assert.equal(Date.parse(expires) - Date.parse(first.headers['last-modified']), VALIDITY * 1000);
    const lived = Date.parse(expires) - Date.parse(first.headers.date);
    assert.ok(Math.abs(lived / 1000 - age) <= 1, 'max-age counts from Date');
    const text = await textOf(first.body);
    assert.equal(Date.parse(text.match(/Next Update: (.*)$/m)[1]), Date.parse(expires));

    // The same bytes for everybody: they were signed once.
    const half = (s) => s.replace(/[+/=]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
    for (const encode of [(s) => s, encodeURIComponent, half]) assert.ok((await get(der, encode)).body.equals(first.body));
    assert.ok((await post(der)).body.equals(first.body));
    const again = await get(der, undefined, { 'If-None-Match': etag });
    assert.equal(again.status, 304);
    assert.equal(again.body.length, 0);
    assert.equal((await get(der, undefined, { 'If-None-Match': '"0"' })).status, 200);
    await move('quarantine', 'cached');
    assert.equal((await get(der, undefined, { 'If-None-Match': etag })).status, 200, 'it is another now');
    assert.equal((await hub.metrics()).get('holdfast_ocsp_responses_total{status="good"}') > 5, true);
  });

  it('takes a replayed request, a nonce and a signature for what they are: nothing', async () => {
    const device = await enrolledDevice(hub, 'replayed');
    const first = await post(await request(device));
    const path = join(hub.folder, 'nonce.ocsp');
    await openssl(['ocsp', '-issuer', issuing, ...of(device), '-nonce', '-reqout', path]);
    const nonce = await readFile(path);
    await openssl(['ocsp', '-issuer', issuing, ...of(device), '-no_nonce', '-signer', device.certificate, '-signkey', device.key, '-reqout', path]);
    const signed = await readFile(path);
    assert.ok(nonce.length > 90 && signed.length > 500);
    for (let i = 0; i < 3; i++)
      for (const der of [nonce, signed]) assert.ok((await post(der)).body.equals(first.body));
    expect(await ask(of(device), { words: ['-nonce'] }), 'good', undefined);
  });

  it('refuses what is no such request, cheaply and in clear words', async () => {
    const device = await enrolledDevice(hub, 'abused');
    const der = await request(device);
    const acts = await hub.acts();
    const before = (await hub.metrics()).get('holdfast_ocsp_responses_total{status="good"}') ?? 0;
    const many = async (n) => {
      const path = join(hub.folder, 'many.ocsp');
      const serials = Array.from({ length: n }, (_, i) => ['-serial', String(i + 1)]).flat();
      await openssl(['ocsp', '-issuer', issuing, ...serials, '-no_nonce', '-reqout', path]);
      return readFile(path);
    };
    assert.equal(errorOf(await post(await many(2))), 'malformed');
    assert.equal(errorOf(await post(await many(40))), 'malformed');
    const ten = await many(10000);
    assert.ok(ten.length > 500000);
    const refused = await post(ten).catch((error) => error);
    assert.ok(refused.status === 413 || refused.code === 'ECONNRESET' || refused.code === 'EPIPE', String(refused.status ?? refused));
    assert.equal((await post(Buffer.alloc(4097))).status, 413);

    const cut = Array.from({ length: der.length - 1 }, (_, i) => der.subarray(0, i + 1));
    for (const body of [...cut, Buffer.concat([der, Buffer.from([0])]), Buffer.from('hello'), Buffer.alloc(4096, 0x30), Buffer.alloc(100, 0xff)])
      assert.equal(errorOf(await post(body)), 'malformed');
    assert.equal((await post(Buffer.alloc(0))).status, 200);
    assert.equal((await post(der, { 'Content-Type': 'application/json' })).status, 415);
    assert.equal((await post(der, {})).status, 415);
    assert.equal((await plain(hub, 'PUT', '/ocsp', { body: der, headers: TYPE })).status, 405);
    assert.equal((await plain(hub, 'GET', '/ocsp')).status, 405);
    assert.equal((await plain(hub, 'GET', '/ocsp/')).status, 404);
    for (const path of ['%', '%4', '%zz', '%00', 'A', 'AAA', '=', `${der.toString('base64')}=`])
      assert.equal(errorOf(await plain(hub, 'GET', `/ocsp/${path}`)), 'malformed', path);
    assert.equal((await plain(hub, 'GET', `/ocsp/${'A'.repeat(256)}`)).status, 404);
    assert.equal((await plain(hub, 'GET', '/ocsp/a!b')).status, 404);
    assert.equal((await plain(hub, 'GET', `/ocsp/${encodeURIComponent(der.toString('base64'))}?a=b`)).status, 400);

    assert.equal(await hub.acts(), acts, 'none of it is in the ledger');
    assert.equal((await hub.metrics()).get('holdfast_ocsp_responses_total{status="good"}') ?? 0, before);
    expect(await ask(of(device)), 'good', undefined);
  });

  it('serves nothing else there, and is served nowhere else', async () => {
    for (const path of ['/', '/v1/hub', '/v1/devices', '/metrics', '/v1/health', '/.well-known/est/cacerts', '/v1/ledger/checkpoint'])
      assert.equal((await plain(hub, 'GET', path)).status, 404, path);
    assert.equal((await hub.api('GET', '/ocsp/AAAA')).status, 404);
    const { listeners } = await hub.must(200, 'GET', '/v1/hub');
    assert.deepEqual(listeners.map(({ name }) => name), ['device', 'bootstrap', 'operator', 'status', 'local']);
  });
});

describe('ocsp, while the authority is rolled over', () => {
  it('speaks for what the previous one issued, under that one, until it is given up', async () => {
    const hub = await Hub.start({ 'listen-status': '127.0.0.1:0' });
    try {
      await hub.factory();
      const signer = join(hub.state, 'signer');
      const roll = async (...words) => {
        const { code, stderr } = await hub.cli('--state', hub.state, '--config', join(hub.folder, 'hub.conf'), 'ca', ...words);
        assert.equal(code, 0, stderr);
      };
      const ask = async (device, issuer) => {
        const authorities = join(hub.folder, 'authorities.pem');
        await writeFile(authorities, (await readFile(issuer, 'utf8')) + (await readFile(hub.roots, 'utf8')));
        const { stdout, stderr } = await run('openssl', ['ocsp', '-issuer', issuer, '-cert', device.certificate, '-url', `http://127.0.0.1:${hub.ports.status}/ocsp`, '-CAfile', authorities, '-timeout', '20']).catch((error) => error);
        return stdout.match(/Responder Error: (\w+)/)?.[1] ?? `${stderr.includes('Response verify OK') ? '' : 'unverified '}${stdout.match(/: (good|revoked|unknown)$/m)?.[1]}`;
      };
      const old = await enrolledDevice(hub, 'old');
      const lost = await enrolledDevice(hub, 'lost');
      await roll('prepare', '--keep-root');
      await roll('switch');
      await hub.restart();
      const fresh = await enrolledDevice(hub, 'fresh');
      const [issuing, previous] = [join(signer, 'issuing.pem'), join(signer, 'previous-issuing.pem')];
      assert.equal(await ask(fresh, issuing), 'good');
      assert.equal(await ask(old, previous), 'good');
      assert.equal(await ask(lost, previous), 'good');
      for (const serial of ['lost', 'fresh']) await hub.must(200, 'POST', `/v1/devices/${serial}/revoke`, { reason: 'a test' });
      assert.equal(await ask(lost, previous), 'revoked');
      assert.equal(await ask(fresh, issuing), 'revoked');
      assert.equal(await ask(old, previous), 'good');
      const kept = join(hub.folder, 'given-up.pem');
      await writeFile(kept, await readFile(previous));
      await roll('finish', '--yes');
      await hub.restart();
      assert.equal(await ask(old, kept), 'unauthorized');
      assert.equal(await ask(fresh, issuing), 'revoked');
    } finally {
      await hub.stop();
    }
  });
});

describe('ocsp, asked by strangers without end', () => {
  it('signs only so much about numbers that nobody has, and goes on speaking of those who are there', async () => {
    const hub = await Hub.start({ 'listen-status': '127.0.0.1:0', 'status-per-minute': '1000000' });
    try {
      await hub.factory();
      const device = await enrolledDevice(hub, 'steady');
      const path = join(hub.folder, 'steady.ocsp');
      await openssl(['ocsp', '-issuer', join(hub.state, 'signer/issuing.pem'), '-cert', device.certificate, '-no_nonce', '-reqout', path]);
      const known = await readFile(path);
      const ask = (body) => plain(hub, 'POST', '/ocsp', { body, headers: { 'Content-Type': 'application/ocsp-request' } });
      let asked = 0;
      let refused = 0;
      await Promise.all(Array.from({ length: 8 }, async () => {
        while (refused === 0 && asked < 20000) {
          const made = Buffer.from(known);
          made.writeUInt32BE(asked++, made.length - 4);
          const { status, body } = await ask(made);
          assert.equal(status, 200);
          if (body.equals(Buffer.from('30030a0103', 'hex'))) refused++;
        }
      }));
      assert.ok(refused > 0 && asked > 1000, `${refused} of ${asked}`);
      const { body } = await ask(known);
      assert.ok(body.length > 500, 'a whole answer');
      assert.ok((await hub.metrics()).get('holdfast_ocsp_responses_total{status="try-later"}') >= 1);
    } finally {
      await hub.stop();
    }
  });

  it('is limited by address', async () => {
    const hub = await Hub.start({ 'listen-status': '127.0.0.1:0', 'status-per-minute': '40' });
    try {
      const url = `http://127.0.0.1:${hub.ports.status}/ocsp/AAAA`;
      const statuses = [];
      for (let i = 0; i < 30; i++) statuses.push((await fetch(url)).status);
      assert.equal(statuses[0], 200);
      assert.equal(statuses.at(-1), 429);
      assert.equal((await fetch(url)).headers.has('retry-after'), true);
    } finally {
      await hub.stop();
    }
  });

  it('is off where it is not configured', async () => {
    const hub = await Hub.start();
    try {
      assert.equal(hub.ports.status, undefined);
      await hub.factory();
      const device = await enrolledDevice(hub, 'plain');
      assert.equal((await openssl(['x509', '-in', device.certificate, '-noout', '-ocsp_uri'])).toString(), '');
    } finally {
      await hub.stop();
    }
  });

  it('says what is wrong with a public URL', async () => {
    for (const [lines, said] of [
      [{ 'public-url': 'http://status.example' }, /give listen-status, too/],
      [{ 'public-url': 'https://status.example', 'listen-status': '127.0.0.1:0' }, /say http:\/\/HOST/],
      [{ 'public-url': 'http://', 'listen-status': '127.0.0.1:0' }, /say http:\/\/HOST/],
      [{ 'public-url': 'http://status.example/', 'listen-status': '127.0.0.1:0' }, /final slash/],
      [{ 'public-url': 'http://status.example/a?b', 'listen-status': '127.0.0.1:0' }, /have no place/],
      [{ 'public-url': `http://${'a'.repeat(200)}`, 'listen-status': '127.0.0.1:0' }, /at most 200/],
      [{ 'ocsp-validity': '2d', 'listen-status': '127.0.0.1:0' }, /ocsp-validity/],
    ]) {
      const started = await Hub.start(lines).then((hub) => hub.stop().then(() => 'it started'), (error) => String(error));
      assert.match(started, said);
    }
  });
});
