// Certification requests and certs-only answers, made and read with nothing but Node: for tests that
// enrol more devices than there is time to start programs for.
import { X509Certificate, createHash, generateKeyPairSync, sign } from 'node:crypto';

function der(tag, ...parts) {
  const body = Buffer.concat(parts);
  const length = body.length < 128 ? Buffer.from([body.length])
    : body.length < 256 ? Buffer.from([0x81, body.length])
    : Buffer.from([0x82, body.length >> 8, body.length & 255]);
  return Buffer.concat([Buffer.from([tag]), length, body]);
}

const COMMON_NAME = Buffer.from('0603550403', 'hex');
const ECDSA_WITH_SHA256 = Buffer.from('300a06082a8648ce3d040302', 'hex');

export function newKeyPair() {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
}

export function spkiSha256({ publicKey }) {
  return createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('hex');
}

// PKCS#10 (RFC 2986) for a P-256 key, in base64.
export function requestBody({ privateKey, publicKey }, name) {
  const subject = der(0x30, der(0x31, der(0x30, COMMON_NAME, der(0x0c, Buffer.from(name)))));
  const info = der(0x30, Buffer.from('020100', 'hex'), subject, publicKey.export({ type: 'spki', format: 'der' }), Buffer.from('a000', 'hex'));
  const signature = sign('sha256', info, privateKey);
  return der(0x30, info, ECDSA_WITH_SHA256, der(0x03, Buffer.from([0]), signature)).toString('base64');
}

function element(bytes, at) {
  let length = bytes[at + 1];
  let start = at + 2;
  if (length & 0x80) {
    const n = length & 0x7f;
    length = bytes.readUIntBE(start, n);
    start += n;
  }
  return { tag: bytes[at], start, end: start + length, whole: bytes.subarray(at, start + length) };
}

// The first certificate of a certs-only PKCS#7 in base64.
export function certificateOf(body) {
  const bytes = Buffer.from(body.toString(), 'base64');
  const content = element(bytes, element(bytes, element(bytes, 0).start).end);
  const signed = element(bytes, content.start);
  for (let at = signed.start; at < signed.end;) {
    const field = element(bytes, at);
    if (field.tag === 0xa0) return new X509Certificate(element(bytes, field.start).whole);
    at = field.end;
  }
  throw new Error('no certificate in the answer');
}

export const fingerprint = (certificate) => certificate.fingerprint256.replaceAll(':', '').toLowerCase();

// simpleenroll on a connection that is open already (lib/wire.mjs).
export function enrolOn(wire, serial, code, body, { ms } = {}) {
  const basic = Buffer.from(`${serial}:${code}`).toString('base64');
  const headers = { 'Content-Type': 'application/pkcs10', Authorization: `Basic ${basic}` };
  return wire.request('POST', '/.well-known/est/simpleenroll', { headers, body, ms });
}
