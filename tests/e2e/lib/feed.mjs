// What a hub tells its brokers, written by a test: feeds (core/device_feed.h) and signed rules (core/rules.h).
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

export const STATES = { expected: 0, enrolled: 1, trusted: 2, quarantined: 3, revoked: 4, retired: 5 };

const text8 = (text) => Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);
const be16 = (n) => { const b = Buffer.alloc(2); b.writeUInt16BE(n); return b; };
const be32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b; };
const be64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b; };

export function record({ tenant = 'default', device, model, group = '', state = 'trusted', cut = false, certificates = [], password, previous }) {
  const body = Buffer.concat([
    Buffer.from([STATES[state], (password ? 1 : 0) | (cut ? 2 : 0) | (previous ? 4 : 0)]),
    text8(tenant), text8(device), text8(model), text8(group),
    Buffer.from([certificates.length]),
    ...certificates.flatMap((c) => [c.sha256, be64(c.notAfter)]),
    ...[password, previous].flatMap((p) => (p ? [p.salt, be32(p.iterations), p.storedKey, be64(p.until)] : [])),
  ]);
  return Buffer.concat([be16(body.length), body]);
}

export const feed = (at, rules, records) =>
  Buffer.concat([Buffer.from('HFFEED01'), be64(at), be64(rules), be32(records.length), ...records.map(record)]);

// An Ed25519 key for signed notes (C2SP), from a seed.
export class PolicyKey {
  constructor(name, seed) {
    this.name = name;
    const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
    this.key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
    const raw = createPublicKey(this.key).export({ format: 'der', type: 'spki' }).subarray(-32);
    const typed = Buffer.concat([Buffer.from([1]), raw]);
    this.id = createHash('sha256').update(`${name}\n`).update(typed).digest().subarray(0, 4);
    this.text = `${name}+${this.id.toString('hex')}+${typed.toString('base64')}`;
  }

  note(text) {
    const signature = Buffer.concat([this.id, sign(null, Buffer.from(text), this.key)]);
    return Buffer.from(`${text}\n\u2014 ${this.name} ${signature.toString('base64')}\n`);
  }
}

// The signed rules that a policy stands for.
export function rules(build, key, version, policy, fleet = 'fleet.example') {
  const body = execFileSync(join(build, 'tests/e2e/rules_maker'), { input: policy });
  const digest = createHash('sha256').update(body).digest('hex');
  const note = key.note(`holdfast-rules/v1\nfleet ${fleet}\nversion ${version}\nmade 2026-11-28T19:00:00Z\nbody ${body.length} ${digest}\n`);
  return Buffer.concat([Buffer.from('HFRULES1'), be32(note.length), note, body]);
}
