// What strangers send: every refusal is clear, changes nothing and is counted, and all others are
// served meanwhile.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { spawn } from 'node:child_process';
import { Hub, as, curl, enrolledDevice, sleep, until } from './lib/hub.mjs';
import { connect, connectOver, connectPlain } from './lib/wire.mjs';
const TIMEOUT_MS = 2000; // the hub's request-timeout below
const SLACK_MS = 2000; // what a loaded machine may add
// Deadlines are looked at 4 times a second.
function assertCutInTime(ms, what) {
  assert.ok(ms > TIMEOUT_MS - 300 && ms < TIMEOUT_MS + SLACK_MS, `${what}: cut after ${Math.round(ms)} ms`);
}

function assertProblem(answer, status, what) {
  assert.equal(answer.status, status, `${what}: ${answer.status} ${answer.body}`);
  assert.match(answer.headers['content-type'], /^application\/problem\+json/, what);
  assert.equal(answer.json.status, status, what);
  assert.match(answer.json.code, /^[a-z0-9-]{1,64}$/, what);
  assert.ok(answer.json.title.length > 0, what);
}

const GET = 'GET /v1/health HTTP/1.1\r\n';
const HOST = 'Host: localhost\r\n';
const POST = `POST /.well-known/est/simpleenroll HTTP/1.1\r\n${HOST}Content-Type: application/pkcs10\r\n`;
const chunked = (body) => `${POST}Transfer-Encoding: chunked\r\n\r\n${body}`;

// [what, bytes, status]: none of these is HTTP as RFC 9112 has it, or as this hub takes it.
const broken = [
  ['two Content-Lengths that differ', `${POST}Content-Length: 4\r\nContent-Length: 5\r\n\r\nAAAAA`, 400],
  ['two Content-Lengths that agree', `${POST}Content-Length: 4\r\nContent-Length: 4\r\n\r\nAAAA`, 400],
  ['a list of Content-Lengths', `${POST}Content-Length: 4, 4\r\n\r\nAAAA`, 400],
  ['a signed Content-Length', `${POST}Content-Length: +4\r\n\r\nAAAA`, 400],
  ['a negative Content-Length', `${POST}Content-Length: -4\r\n\r\nAAAA`, 400],
  ['a hexadecimal Content-Length', `${POST}Content-Length: 0x4\r\n\r\nAAAA`, 400],
  ['an empty Content-Length', `${POST}Content-Length:\r\n\r\n`, 400],
  ['a Content-Length beyond all numbers', `${POST}Content-Length: 99999999999999999999\r\n\r\n`, 400],
  ['Content-Length and Transfer-Encoding', `${POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['Transfer-Encoding and Content-Length', `${POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`, 400],
  ['two Transfer-Encodings', `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['a coding that is not known', `${POST}Transfer-Encoding: gzip\r\n\r\n`, 501],
  ['a list of codings', `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n`, 501],
  ['a coding that resembles chunked', `${POST}Transfer-Encoding: xchunked\r\n\r\n`, 501],
  ['a space before the colon', `${POST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`, 400],
  ['a tab before the value', `${POST}Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n`, 400],
  ['a vertical tab in the value', `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`, 400],
  ['chunks in HTTP/1.0', `POST /v1/health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['a chunk size that is no number', chunked('xyz\r\n'), 400],
  ['a negative chunk size', chunked('-1\r\n'), 400],
  ['a chunk size of 17 digits', chunked('00000000000000001\r\nA\r\n0\r\n\r\n'), 400],
  ['a chunk extension', chunked('1;x=y\r\nA\r\n0\r\n\r\n'), 400],
  ['a trailer', chunked('0\r\nX: y\r\n\r\n'), 400],
  ['a chunk without its end', chunked('1\r\nAB\r\n0\r\n\r\n'), 400],
  ['a bare LF behind a chunk size', chunked('1\nA\r\n0\r\n\r\n'), 400],
  ['bare LFs', 'GET /v1/health HTTP/1.1\nHost: localhost\n\n', 400],
  ['a bare LF behind a field', `${GET}Host: localhost\nX: y\r\n\r\n`, 400],
  ['a bare CR in a value', `${GET}${HOST}X: a\rb\r\n\r\n`, 400],
  ['a folded line', `${GET}${HOST}X: a\r\n b\r\n\r\n`, 400],
  ['a line that begins with a tab', `${GET}${HOST}X: a\r\n\tb\r\n\r\n`, 400],
  ['NUL in a value', `${GET}${HOST}X: a\0b\r\n\r\n`, 400],
  ['NUL in a name', `${GET}${HOST}X\0: a\r\n\r\n`, 400],
  ['NUL in the target', `GET /v1/he\0alth HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a control character in the target', `GET /v1/he\x7falth HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a field without a name', `${GET}${HOST}: a\r\n\r\n`, 400],
  ['a line without a colon', `${GET}${HOST}nonsense\r\n\r\n`, 400],
  ['no Host', `${GET}\r\n`, 400],
  ['two Hosts', `${GET}${HOST}${HOST}\r\n`, 400],
  ['two spaces in the request line', `GET  /v1/health HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['an empty line first', `\r\n${GET}${HOST}\r\n`, 400],
  ['no version', `GET /v1/health\r\n${HOST}\r\n`, 400],
  ['HTTP/1.2', `GET /v1/health HTTP/1.2\r\n${HOST}\r\n`, 505],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
  ['a version in lower case', `GET /v1/health http/1.1\r\n${HOST}\r\n`, 400],
  ['a method that is not known', `BREW /v1/health HTTP/1.1\r\n${HOST}\r\n`, 405],
  ['a method in lower case', `get /v1/health HTTP/1.1\r\n${HOST}\r\n`, 405],
  ['a method that is no token', `G{T /v1/health HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a target without a slash', `GET v1/health HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['two slashes first', `GET //v1/health HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a fragment', `GET /v1/health#x HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a user in the target', `GET http://u@localhost/v1/health HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a target of 3000 bytes', `GET /${'a'.repeat(3000)} HTTP/1.1\r\n${HOST}\r\n`, 414],
  ['an expectation that is not known', `${POST}Expect: 200-maybe\r\nContent-Length: 4\r\n\r\nAAAA`, 417],
  ['a field of 20,000 bytes', `${GET}${HOST}X: ${'a'.repeat(20000)}\r\n\r\n`, 431],
  ['a hundred fields', `${GET}${HOST}${'X: y\r\n'.repeat(100)}\r\n`, 431],
  ['HEAD with a body', `HEAD /v1/health HTTP/1.1\r\n${HOST}Content-Length: 4\r\n\r\nAAAA`, 400],
  ['a body of 100,000 bytes', `${POST}Content-Length: 100000\r\n\r\n${'A'.repeat(100000)}`, 413],
  ['a body of ten terabytes', `${POST}Content-Length: 10000000000000\r\n\r\n`, 413],
  ['chunks of 100,000 bytes', chunked(`186a0\r\n${'A'.repeat(100000)}\r\n0\r\n\r\n`), 413],
  ['a chunk of four gigabytes', chunked('ffffffff\r\n'), 413],
];

describe('what strangers send', { timeout: 120000 }, () => {
  let hub;
  let device;
  before(async () => {
    hub = await Hub.start({ 'request-timeout': '2s', 'idle-timeout': '3s', 'connections-per-address': '50' });
    await hub.factory();
    device = await enrolledDevice(hub, 'good');
    assert.equal((await as(hub, device, '/v1/device/self')).status, 200);
    await until('its certificate is confirmed', async () => (await hub.ledger()).some(({ act }) => act === 'device.confirm'));
  });
  after(() => hub.stop());

  const malformed = async (listener) => (await hub.metrics()).get(`holdfast_http_malformed_total{listener="${listener}"}`);
  const counted = async (outcome) => (await hub.metrics()).get(`holdfast_http_requests_total{outcome="${outcome}"}`) ?? 0;
  const served = async () => {
    const answer = await curl(hub, 'operator', '/v1/health', ['--interface', '127.0.0.2', '--max-time', '5']);
    assert.equal(answer.status, 200, `others are served: ${JSON.stringify(answer)}`);
  };
  const unchanged = async (run) => {
    const acts = await hub.acts();
    await run();
    assert.equal(await hub.acts(), acts, 'nothing was changed');
  };

  describe('as HTTP', () => {
    it(`is refused in each of ${broken.length} ways, once, and the connection closed`, () => unchanged(async () => {
      const before = await malformed('bootstrap');
      for (const [what, bytes, status] of broken) {
        const wire = await connect(hub, 'bootstrap');
        // What follows must not be taken for a request of its own.
        wire.send(Buffer.from(`${bytes}${GET}${HOST}\r\n`, 'latin1'));
        const answer = await wire.answer().catch((error) => assert.fail(`${what}: ${error.message}`));
        assertProblem(answer, status, what);
        assert.equal(answer.headers.connection, 'close', what);
        if (status === 405) assert.match(answer.headers.allow, /GET/, what);
        assert.ok(await wire.endsWithin(3000), `${what}: closed`);
        assert.equal(wire.bytes.length, 0, `${what}: one answer`);
      }
      assert.equal(await malformed('bootstrap'), before + broken.length, 'each is counted');
      await served();
    }));

    it('is refused with what the contract says of problems: code, title and detail', async () => {
      const wrong = [];
      for (const [what, bytes, status] of broken) {
        const wire = await connect(hub, 'bootstrap');
        wire.send(Buffer.from(bytes, 'latin1'));
        const { json } = await wire.answer();
        if (!(json.detail?.length > 0)) wrong.push(`${what}: ${JSON.stringify(json)}`);
        if (status === 413 && json.code !== 'too-large') wrong.push(`${what}: the contract's word is too-large, this is ${json.code}`);
        wire.destroy();
      }
      assert.equal(wrong.length, 0, `${wrong.length} of ${broken.length}: ${wrong.slice(0, 3).join('; ')}`);
    });

    it('is refused in the same way byte by byte', async () => {
      for (const [what, bytes, status] of broken.filter(([, bytes]) => bytes.length < 160)) {
        const wire = await connect(hub, 'bootstrap');
        wire.socket.setNoDelay(true);
        for (const byte of Buffer.from(bytes, 'latin1')) {
          if (wire.isClosed || wire.isEnded || wire.bytes.length > 0) break;
          wire.send(Buffer.from([byte]));
          await new Promise(setImmediate);
        }
        assertProblem(await wire.answer(), status, what);
        wire.destroy();
      }
    });

    it('is taken where it is well, however it is cut and joined', async () => {
      const wire = await connect(hub, 'operator');
      const one = Buffer.from(`${GET}${HOST}\r\n`);
      wire.send(Buffer.concat([one, one, one, one.subarray(0, 7)]));
      for (let i = 0; i < 3; i++) assert.equal((await wire.answer()).json.status, 'ok');
      wire.send(one.subarray(7));
      assert.equal((await wire.answer()).json.status, 'ok');
      for (const byte of one) {
        wire.send(Buffer.from([byte]));
        await new Promise(setImmediate);
      }
      assert.equal((await wire.answer()).status, 200);
      wire.destroy();
    });

    it('has paths that are taken as they stand', () => unchanged(async () => {
      const paths = ['/', '/v1', '/v1/', '/v1/health/', '/v1//health', '/v1/./health', '/v1/../v1/health', '/v1/%68ealth', '/v1/health%00', '/v1/health;x',
                     '/V1/health', '/v1/devices/..%2fhub', '/v1/devices/%2e%2e', '/v1/ledger/tile/../checkpoint', '/v1/ledger/tile/..%2fcheckpoint', '/.well-known/est',
                     '/v1/ledger/tile/entries/../0/000', '/etc/passwd', '/v1/devices/' + 'a'.repeat(65), '/\\v1\\health', '/v1/health/..', '*'];
      const before = await counted('none 404');
      let refused = 0;
      for (const path of paths) {
        for (const listener of ['operator', 'local']) {
          let answer;
          if (listener === 'local') {
            answer = await hub.api('GET', path);
            answer.json = answer.body;
          } else {
            const wire = await connect(hub, listener);
            answer = await wire.request('GET', path);
            wire.destroy();
          }
          assert.ok([400, 401, 404].includes(answer.status), `${listener} ${path}: ${answer.status}`);
          assertProblem(answer, answer.status, path);
          if (answer.status === 404 && answer.json.code === 'route-not-found') refused++;
        }
      }
      assert.ok(refused > 20);
      assert.equal(await counted('none 404'), before + refused, 'counted');
    }));

    it('has queries that are taken as they stand', async () => {
      const wrong = { 'limit=0': 'limit', 'limit=1001': 'limit', 'limit=x': 'limit', 'limit=': 'limit', 'limit=1&limit=1': 'limit', 'limit=1.0': 'limit',
                      'limit=99999999999999999999': 'limit', 'limit=-1': 'limit', 'state=lost': 'state', 'unknown=1': 'unknown', 'model=-x': 'model', 'after=' : 'after',
                      'limit': undefined, 'limit=%31': undefined, 'limit=+1': undefined, '&': undefined, '=': undefined, 'limit=1&': undefined };
      for (const [query, field] of Object.entries(wrong)) {
        const { status, body } = await hub.api('GET', `/v1/devices?${query}`);
        assert.equal(status, 400, query);
        if (field) assert.equal(body.field, field, `${query}: ${JSON.stringify(body)}`);
        assert.ok(body.detail.length > 0);
      }
      assert.equal((await hub.api('GET', '/v1/hub?x=1')).body.field, 'x');
    });

    it('has methods: 405 with what is allowed, HEAD without a body', async () => {
      const cases = [['DELETE', '/v1/health', 'GET'], ['POST', '/v1/devices', 'GET'], ['DELETE', '/v1/models', 'GET, POST'],
                     ['PUT', '/v1/models/thermo', 'GET, PATCH, DELETE'], ['GET', '/v1/devices/good/revoke', 'POST'], ['POST', '/v1/trust-bundle', 'GET, PUT']];
      for (const [method, path, allowed] of cases) {
        const answer = await hub.api(method, path);
        assert.equal(answer.status, 405, `${method} ${path}`);
        assert.deepEqual(answer.headers.allow.split(', ').sort(), allowed.split(', ').sort());
        assert.equal(answer.body.code, 'method-not-allowed');
      }
      const wire = await connect(hub, 'operator');
      const head = await wire.request('HEAD', '/v1/health');
      assert.ok([200, 405].includes(head.status));
      if (head.status === 405) assert.equal(head.headers.allow, 'GET');
      assert.equal((await wire.request('GET', '/v1/health')).json.status, 'ok', 'no body came with it');
      wire.destroy();
      assert.equal((await as(hub, device, '/v1/device/self', ['-X', 'DELETE'])).status, 405);
    });
  });

  describe('as JSON', () => {
    const model = { id: 'm', maker: 'acme', proof: 'manifest', key_kinds: ['P-256'], lifetime_seconds: 86400, enrolled_lifetime_seconds: 600 };
    const text = JSON.stringify(model);
    const deep = '['.repeat(40) + ']'.repeat(40);
    // [what, body, the field that is named or the code where there is none to name]
    const wrong = [
      ['not JSON', '{', '#json-malformed'],
      ['no object', '[]', '#json-not-object'],
      ['null', 'null', '#json-malformed'],
      ['trailing bytes', `${text} x`, '#json-malformed'],
      ['two documents', `${text}${text}`, '#json-malformed'],
      ['a byte order mark', `\ufeff${text}`, '#json-malformed'],
      ['a NUL behind it', `${text}\0`, '#json-malformed'],
      ['a comment', `/* */${text}`, '#json-malformed'],
      ['a trailing comma', text.replace('}', ',}'), '#json-malformed'],
      ['bytes that are not UTF-8', Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]), '#json-malformed'],
      ['half a surrogate', text.replace('"m"', '"\\ud800"'), '#json-malformed'],
      ['nesting too deep', `{"id":${deep}}`, '#json-too-deep'],
      ['4,000 brackets in a small body', '['.repeat(4000), '#json-too-deep'],
      ['NaN', text.replace('86400', 'NaN'), '#json-malformed'],
      ['a number beyond all', text.replace('86400', '1e999'), '#json-malformed'],
      ['a repeated key', text.replace('"maker"', '"id":"x","maker"'), '#json-duplicate-key'],
      ['an unknown field', text.replace('{', '{"surprise":1,'), 'surprise'],
      ['a field that is missing', text.replace('"maker":"acme",', ''), 'maker'],
      ['a number for a text', text.replace('"acme"', '1'), 'maker'],
      ['null for a text', text.replace('"acme"', 'null'), 'maker'],
      ['an object for a text', text.replace('"acme"', '{}'), 'maker'],
      ['a text for a number', text.replace('86400', '"86400"'), 'lifetime_seconds'],
      ['a fraction for a whole number', text.replace('86400', '86400.5'), 'lifetime_seconds'],
      ['an exponent for a whole number', text.replace('86400', '864e2'), 'lifetime_seconds'],
      ['a number that is too small', text.replace('86400', '1'), 'lifetime_seconds'],
      ['a number that is too large', text.replace('86400', '99999999999'), 'lifetime_seconds'],
      ['true for a number', text.replace('86400', 'true'), 'lifetime_seconds'],
      ['a word that is none', text.replace('"manifest"', '"hope"'), 'proof'],
      ['a word that is none, in a list', text.replace('"P-256"', '"P-256","P-521"'), 'key_kinds[1]'],
      ['a repeated word', text.replace('"P-256"', '"P-256","P-256"'), 'key_kinds[1]'],
      ['an empty list', text.replace('["P-256"]', '[]'), 'key_kinds'],
      ['an object for a list', text.replace('["P-256"]', '{}'), 'key_kinds'],
      ['an empty name', text.replace('"m"', '""'), 'id'],
      ['a name with a slash', text.replace('"m"', '"a/b"'), 'id'],
      ['a name with a NUL', text.replace('"m"', '"a\\u0000b"'), '#json-malformed'],
      ['a name of dots', text.replace('"m"', '".."'), 'id'],
      ['a name of 65', text.replace('"m"', `"${'a'.repeat(65)}"`), 'id'],
      ['a name in other letters', text.replace('"m"', '"\u043c"'), 'id'],
    ];
    for (const [what, body, field] of wrong) {
      it(`is refused: ${what}`, () => unchanged(async () => {
        const before = await counted('model_create 400');
        const answer = await hub.api('POST', '/v1/models', body);
        assert.equal(answer.status, 400, JSON.stringify(answer.body));
        if (field.startsWith('#')) assert.equal(answer.body.code, field.slice(1), JSON.stringify(answer.body));
        else assert.equal(answer.body.field, field, JSON.stringify(answer.body));
        assert.ok(answer.body.code && answer.body.title && answer.body.detail, JSON.stringify(answer.body));
        assert.equal(await counted('model_create 400'), before + 1, 'counted');
        assert.equal((await hub.api('GET', '/v1/models/m')).status, 404);
      }));
    }

    it('names the row and the field of a manifest, and takes all rows or none', () => unchanged(async () => {
      const claim = { expires_at: '2099-01-01T00:00:00Z' };
      const key = 'ab'.repeat(32);
      const rows = (row) => ({ rows: [{ serial: 'r0', claim }, { serial: 'r1', claim }, { serial: 'r2', claim }, row] });
      const cases = [
        [{ serial: '', claim }, 400, 'rows[3].serial'],
        [{ claim }, 400, 'rows[3].serial'],
        [{ serial: 'x' }, 400, undefined],
        [{ serial: 'x', claim, key_sha256: key }, 400, undefined],
        [{ serial: 'x', key_sha256: 'abc' }, 400, 'rows[3].key_sha256'],
        [{ serial: 'x', key_sha256: 'zz'.repeat(32) }, 400, 'rows[3].key_sha256'],
        [{ serial: 'x', idevid_pem: 'not PEM' }, 400, 'rows[3].idevid_pem'],
        [{ serial: 'x', idevid_pem: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' }, 400, 'rows[3].idevid_pem'],
        [{ serial: 'x', claim: { expires_at: 'tomorrow' } }, 400, 'rows[3].claim.expires_at'],
        [{ serial: 'x', claim: { expires_at: '2001-01-01T00:00:00Z' } }, 400, 'rows[3].claim.expires_at'],
        [{ serial: 'x', claim: { expires_at: '2099-02-30T00:00:00Z' } }, 400, 'rows[3].claim.expires_at'],
        [{ serial: 'x', claim: {} }, 400, 'rows[3].claim.expires_at'],
        [{ serial: 'x', claim: { ...claim, more: 1 } }, 400, 'rows[3].claim.more'],
        [{ serial: 'x', claim, more: 1 }, 400, 'rows[3].more'],
        [{ serial: 'good', claim }, 409, 'rows[3].serial'],
        [{ serial: 'r1', claim }, 409, 'rows[3].serial'],
      ];
      for (const [row, status, field] of cases) {
        const answer = await hub.api('POST', '/v1/manifests/batch/devices', rows(row));
        assert.equal(answer.status, status, `${JSON.stringify(row)}: ${JSON.stringify(answer.body)}`);
        if (field) assert.equal(answer.body.field, field, JSON.stringify(answer.body));
        else assert.match(answer.body.field, /^rows\[3\]/);
      }
      assert.equal((await hub.api('POST', '/v1/manifests/batch/devices', { rows: [] })).body.field, 'rows');
      const many = Array.from({ length: 251 }, (_, i) => ({ serial: `many-${i}`, claim }));
      assert.equal((await hub.api('POST', '/v1/manifests/batch/devices', { rows: many })).body.field, 'rows');
      assert.equal((await hub.api('GET', '/v1/devices/r0')).status, 404, 'nothing of it was kept');
    }));

    it('is refused from devices, too', () => unchanged(async () => {
      const put = (body, type = 'application/json') => as(hub, device, '/v1/device/report', ['-X', 'PUT', '-H', `Content-Type: ${type}`], body);
      const report = { agent_version: '1', platform: 'x', key_storage: 'file', facts: {} };
      const facts = (n, value) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`f${i}`, value]));
      const cases = [
        [{ ...report, key_storage: 'hope' }, 400, 'key_storage'],
        [{ ...report, tenant: 'other' }, 400, 'tenant'],
        [{ ...report, facts: facts(33, 'x') }, 400, 'facts'],
        [{ ...report, facts: { f: 1 } }, 400, 'facts.f'],
        [{ ...report, facts: { f: 'x'.repeat(129) } }, 400, 'facts.f'],
        [{ ...report, facts: { f: 'a\nb' } }, 400, 'facts.f'],
        [{ ...report, boot_count: -1 }, 400, 'boot_count'],
        [{ ...report, boot_count: 9007199254740992 }, 400, 'boot_count'],
        [{ ...report, platform: '' }, 400, 'platform'],
      ];
      for (const [body, status, field] of cases) {
        const answer = await put(JSON.stringify(body));
        assert.equal(answer.status, status, JSON.stringify(answer.json));
        assert.equal(answer.json.field, field, JSON.stringify(answer.json));
      }
      assert.equal((await put('x'.repeat(17000))).status, 413);
      assert.equal((await put('{}', 'text/plain')).status, 415);
      const checkin = await as(hub, device, '/v1/device/checkin', ['-H', 'Content-Type: application/json'], JSON.stringify({ agent_version: '1', uptime_seconds: 1, x: 'y'.repeat(3000) }));
      assert.equal(checkin.status, 413, 'each operation has its own limit');
      assert.equal(checkin.json.code, 'too-large');
    }));
  });

  describe('slowly', { concurrency: true }, () => {
    const drip = async (wire, text, everyMs) => {
      const start = performance.now();
      const timer = setInterval(() => wire.send('a'), everyMs);
      if (text) wire.send(text);
      const ended = await wire.endsWithin(TIMEOUT_MS + SLACK_MS + 1000);
      clearInterval(timer);
      assert.ok(ended, 'cut');
      return performance.now() - start;
    };
    const timedOut = async (listener) => (await hub.metrics()).get(`holdfast_connections_timed_out_total{listener="${listener}"}`);
    // These run side by side, so what is counted is looked at behind them all.
    let cut = 0;
    let cutBefore;
    before(async () => (cutBefore = await timedOut('operator')));
    after(async () => assert.equal(await timedOut('operator'), cutBefore + cut, 'each is counted'));

    it('is cut by one deadline: a connection on which nothing comes', async () => {
      const wire = await connectPlain(hub, 'operator');
      const start = performance.now();
      assert.ok(await wire.endsWithin(TIMEOUT_MS + SLACK_MS));
      assertCutInTime(performance.now() - start, 'nothing');
      cut++;
    });

    it('is cut by one deadline: a header that comes byte by byte', async () => {
      const wire = await connect(hub, 'operator');
      assertCutInTime(await drip(wire, `${GET}X: `, 100), 'header');
      cut++;
    });

    it('is cut by one deadline: a body that comes byte by byte', async () => {
      const wire = await connect(hub, 'bootstrap');
      assertCutInTime(await drip(wire, `${POST}Content-Length: 1000\r\n\r\n`, 100), 'body');
    });

    it('is cut by one deadline: the second request of a connection', async () => {
      const wire = await connect(hub, 'operator');
      assert.equal((await wire.request('GET', '/v1/health')).status, 200);
      await sleep(1000);
      assertCutInTime(await drip(wire, `${GET}X: `, 100), 'second');
      cut++;
    });

    it('is cut by one deadline: answers that are not taken', async () => {
      const wire = await connect(hub, 'bootstrap');
      wire.socket.pause();
      const one = `GET /.well-known/est/cacerts HTTP/1.1\r\n${HOST}\r\n`;
      for (let i = 0; i < 300 && !wire.isClosed; i++) {
        wire.send(one.repeat(20));
        await new Promise(setImmediate);
      }
      await served();
      await until('the hub has let go of it', async () => (await hub.metrics()).get('holdfast_connections{listener="bootstrap"}') === 0, TIMEOUT_MS + SLACK_MS + 2000);
      wire.destroy();
    });

    it('is cut by one deadline: half a TLS record before the handshake', async () => {
      const hello = Buffer.from('16030102000100', 'hex'); // a record of 512 bytes begins; 2 of them come
      const wire = await connectPlain(hub, 'operator');
      wire.send(hello);
      const start = performance.now();
      assert.ok(await wire.endsWithin(TIMEOUT_MS + SLACK_MS));
      assertCutInTime(performance.now() - start, 'half a hello');
      cut++;
    });

    it('is cut by one deadline: half a TLS record after it', async () => {
      const { wire, plain } = await connectOver(hub, 'bootstrap');
      const start = performance.now();
      plain.write(Buffer.from('1703034000aabbccdd', 'hex'));
      assert.ok(await wire.endsWithin(TIMEOUT_MS + SLACK_MS));
      assert.ok(performance.now() - start < TIMEOUT_MS + SLACK_MS);
      plain.destroy();
    });

    it('is cut when it is idle for too long', async () => {
      const wire = await connect(hub, 'operator');
      assert.equal((await wire.request('GET', '/v1/health')).status, 200);
      const start = performance.now();
      assert.ok(await wire.endsWithin(3000 + SLACK_MS)); // the hub's idle-timeout
      assert.ok(performance.now() - start > 2700, 'not before');
    });
  });

  describe('as TLS', () => {
    const failed = async (listener) => (await hub.metrics()).get(`holdfast_tls_failed_total{listener="${listener}"}`);
    const openssl = async (words) => {
      const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${hub.ports.operator}`, '-servername', 'localhost', '-CAfile', hub.roots, ...words]);
      let text = '';
      child.stdout.on('data', (data) => (text += data));
      child.stderr.on('data', (data) => (text += data));
      child.stdin.end();
      const code = await new Promise((done) => child.once('close', done));
      return { code, text };
    };

    for (const words of [['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'], ['-tls1', '-cipher', 'ALL:@SECLEVEL=0'], ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA'],
                         ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES256-SHA384'], ['-tls1_2', '-cipher', 'AES128-GCM-SHA256'], ['-tls1_2', '-cipher', 'NULL:@SECLEVEL=0'],
                         ['-tls1_2', '-cipher', 'aNULL:@SECLEVEL=0']]) {
      it(`is refused: ${words.join(' ')}`, async () => {
        const before = await failed('operator');
        const { code, text } = await openssl(words);
        assert.notEqual(code, 0);
        assert.match(text, /alert (protocol version|handshake failure)/, text.slice(0, 600));
        await until('it is counted', async () => await failed('operator') === before + 1, 3000);
      });
    }

    it('is taken from 1.2 on, with ECDHE and AEAD', async () => {
      for (const words of [['-tls1_2'], ['-tls1_3'], ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256']]) {
        const { code, text } = await openssl(words);
        assert.equal(code, 0, text.slice(0, 600));
        assert.match(text, /Verify return code: 0/);
      }
    });

    it('is refused where it is none', async () => {
      for (const bytes of [`${GET}${HOST}\r\n`, 'SSH-2.0-x\r\n', Buffer.alloc(2000, 0xff), Buffer.from('160301ffff', 'hex')]) {
        const before = await failed('operator');
        const wire = await connectPlain(hub, 'operator');
        wire.send(bytes);
        assert.ok(await wire.endsWithin(TIMEOUT_MS + SLACK_MS), 'closed');
        assert.ok(!wire.bytes.includes('HTTP/'), 'no answer in the clear');
        await until('it is counted', async () => await failed('operator') === before + 1, 3000);
      }
    });

    it('lets nobody in with a certificate of another authority', async () => {
      const stranger = await Hub.start();
      try {
        await stranger.factory();
        const other = await enrolledDevice(stranger, 'good');
        const before = await failed('device');
        const ask = connect(hub, 'device', { device: other }).then((wire) => wire.request('GET', '/v1/device/self'));
        await assert.rejects(ask);
        assert.ok((await curl(hub, 'device', '/v1/device/self')).curl, 'nor without one');
        assert.ok(await failed('device') >= before + 2, 'counted');
      } finally {
        await stranger.stop();
      }
    });

    it('does not renegotiate', async () => {
      const wire = await connect(hub, 'operator', { maxVersion: 'TLSv1.2' });
      assert.equal((await wire.request('GET', '/v1/health')).status, 200);
      let renegotiated = false;
      wire.socket.renegotiate({}, (error) => (renegotiated = !error));
      await wire.endsWithin(TIMEOUT_MS + SLACK_MS);
      assert.ok(!renegotiated);
      await served();
      wire.destroy();
    });
  });

  describe('in numbers', () => {
    it('gets so many connections from one address and no more, while others are served', async (t) => {
      await until('earlier connections are gone', async () => (await hub.metrics()).get('holdfast_connections{listener="operator"}') === 0, 6000);
      const name = 'holdfast_connections_over_address_cap_total{listener="operator"}';
      const before = (await hub.metrics()).get(name);
      const kept = await Promise.all(Array.from({ length: 50 }, () => connect(hub, 'operator')));
      const attempts = await Promise.all(Array.from({ length: 20 }, () => connect(hub, 'operator').then(() => 'in', () => 'refused')));
      assert.deepEqual([...new Set(attempts)], ['refused']);
      assert.equal((await hub.metrics()).get(name), before + 20, 'counted');
      await served();
      const [first, ...rest] = kept;
      assert.equal((await first.request('GET', '/v1/health')).status, 200, 'those who are in are served');
      for (const wire of rest) wire.destroy();
      await until('there is room again', async () => (await curl(hub, 'operator', '/v1/health')).status === 200, 5000);
      first.destroy();
      t.diagnostic('50 in, 20 refused');
    });

    it('makes 10,000 attempts from one address, and the others are served', async (t) => {
      await until('earlier connections are gone', async () => (await hub.metrics()).get('holdfast_connections{listener="operator"}') === 0, 6000);
      const before = await hub.metrics();
      let left = 10000;
      const times = [];
      const start = performance.now();
      const attack = async () => {
        while (left-- > 0) {
          const wire = await connectPlain(hub, 'operator').catch(() => undefined);
          if (wire && !(await wire.endsWithin(50))) wire.socket.unref(); // in: it stays until the hub ends it
        }
      };
      let done = false;
      const watch = async () => {
        while (!done) {
          const at = performance.now();
          await served();
          times.push(performance.now() - at);
          await sleep(100);
        }
      };
      const watching = watch();
      await Promise.all(Array.from({ length: 100 }, attack));
      done = true;
      await watching;
      const after = await hub.metrics();
      const grown = (name) => after.get(`${name}{listener="operator"}`) - before.get(`${name}{listener="operator"}`);
      const refused = grown('holdfast_connections_over_address_cap_total');
      const accepted = grown('holdfast_connections_accepted_total');
      t.diagnostic(`${refused} refused, ${accepted - times.length} let in, in ${Math.round(performance.now() - start)} ms; `
        + `others were answered within ${Math.round(Math.max(...times))} ms (${times.length} times)`);
      assert.equal(refused + accepted - times.length, 10000, 'each is counted');
      assert.ok(refused > 8000);
    });
  });

  it('has left no entry but findings, and the good device as it was', async () => {
    assert.equal((await as(hub, device, '/v1/device/self')).json.state, 'trusted');
    const verbs = new Set((await hub.ledger()).map(({ act }) => act));
    assert.deepEqual([...verbs].filter((verb) => !verb.startsWith('finding.')).sort(), ['device.confirm', 'device.enrol', 'hub.join', 'manifest.create', 'manifest.import', 'model.create', 'subject.create', 'trust-bundle.replace']);
  });
});
