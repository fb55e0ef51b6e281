// A reader and a maker of ledgers that share no code with it: Merkle trees as RFC 6962 section 2.1 defines
// them, tiles, checkpoints and notes as C2SP tlog-tiles, tlog-checkpoint and signed-note do.
import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const sha256 = (...parts) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export const leafHash = (entry) => sha256(Buffer.from([0]), entry);

// MTH(D[n]) over leaf hashes.
export function treeHash(leaves) {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0];
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha256(Buffer.from([1]), treeHash(leaves.slice(0, k)), treeHash(leaves.slice(k)));
}

// "NAME+HASH+BASE64": an Ed25519 verifier key.
export function readKey(text) {
  const [, name, id, encoded] = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.length !== 33 || bytes[0] !== 1) throw new Error('not an Ed25519 key');
  if (sha256(`${name}\n`, bytes).subarray(0, 4).toString('hex') !== id) throw new Error('the key id is not that of the key');
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), bytes.subarray(1)]);
  return { name, id, publicKey: createPublicKey({ key: spki, format: 'der', type: 'spki' }) };
}

// The size and root that a checkpoint states, once its signature holds.
export function readCheckpoint(note, key) {
  const text = note.toString();
  const split = text.indexOf('\n\n');
  if (split < 0) throw new Error('no signature');
  const body = text.slice(0, split + 1);
  const signatures = text.slice(split + 2).trimEnd().split('\n');
  const good = signatures.some((line) => {
    const match = /^\u2014 (\S+) (\S+)$/.exec(line);
    if (!match || match[1] !== key.name) return false;
    const bytes = Buffer.from(match[2], 'base64');
    return bytes.subarray(0, 4).toString('hex') === key.id && verify(null, Buffer.from(body), key.publicKey, bytes.subarray(4));
  });
  if (!good) throw new Error(`no good signature by ${key.name}: ${text}`);
  const [origin, size, root] = body.split('\n');
  if (!/^(0|[1-9][0-9]*)$/.test(size)) throw new Error('the size is not a number');
  return { origin, size: Number(size), root: Buffer.from(root, 'base64') };
}

function indexPath(index) {
  const parts = [String(index % 1000).padStart(3, '0')];
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    parts.unshift(`x${String(rest % 1000).padStart(3, '0')}`);
  return parts.join('/');
}

export const tilePath = (level, index, width = 256) => `${level}/${indexPath(index)}${width < 256 ? `.p/${width}` : ''}`;

// Every tile of a log of that size: {level, index, width}, bundles of entries with the level "entries".
export function tilesOf(size) {
  const tiles = [];
  for (let level = 0, n = size; n > 0; level++, n = Math.floor(n / 256)) {
    for (let index = 0; index * 256 < n; index++) {
      const width = Math.min(256, n - index * 256);
      tiles.push({ level, index, width });
      if (level === 0) tiles.push({ level: 'entries', index, width });
    }
  }
  return tiles;
}

export function readBundle(bytes) {
  const entries = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt16BE(at);
    if (at + 2 + length > bytes.length) throw new Error('an entry is cut off');
    entries.push(bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return entries;
}

// What a tile must hold, from the log's leaf hashes.
export function tileBytes(leaves, { level, index, width }) {
  const span = 256 ** level;
  const hashes = [];
  for (let i = index * 256; i < index * 256 + width; i++) hashes.push(treeHash(leaves.slice(i * span, (i + 1) * span)));
  return Buffer.concat(hashes);
}

// Reads all entries of a log by `fetch(path)` and recomputes root and tiles; gives the entries.
export async function verifyLog({ size, root }, fetch) {
  const tiles = tilesOf(size);
  const leaves = [];
  const entries = [];
  for (const tile of tiles.filter(({ level }) => level === 'entries')) {
    const found = readBundle(await fetch(tilePath('entries', tile.index, tile.width)));
    if (found.length !== tile.width) throw new Error(`bundle ${tile.index} has ${found.length} entries, not ${tile.width}`);
    for (const entry of found) {
      entries.push(entry);
      leaves.push(leafHash(entry));
    }
  }
  if (!treeHash(leaves).equals(root)) throw new Error(`the root of ${size} entries is not that of the checkpoint`);
  for (const tile of tiles.filter(({ level }) => level !== 'entries')) {
    const bytes = await fetch(tilePath(tile.level, tile.index, tile.width));
    if (!bytes.equals(tileBytes(leaves, tile))) throw new Error(`tile ${JSON.stringify(tile)} is not that of the entries`);
  }
  return { entries, leaves };
}

// ---- the maker

// A key that signs notes: of a log (type 1) or of a witness (type 4).
export function signer(name, type) {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const typed = Buffer.concat([Buffer.from([type]), publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)]);
  const id = createHash('sha256').update(`${name}\n`).update(typed).digest().subarray(0, 4);
  return {
    vkey: `${name}+${id.toString('hex')}+${typed.toString('base64')}`,
    line(text, time = 1764291600) {
      const stamp = Buffer.alloc(type === 4 ? 8 : 0);
      if (type === 4) stamp.writeBigUInt64BE(BigInt(time));
      const signature = sign(null, Buffer.from(type === 4 ? `cosignature/v1\ntime ${time}\n${text}` : text), privateKey);
      return `\u2014 ${name} ${Buffer.concat([id, stamp, signature]).toString('base64')}\n`;
    },
  };
}

export const bundle = (entries) => Buffer.concat(entries.flatMap((entry) => [Buffer.from([entry.length >> 8, entry.length & 255]), entry]));

// A checkpoint's note, by whoever holds the log's key.
export function checkpointFor(entries, log, witnesses = []) {
  const text = `fleet.example/ledger\n${entries.length}\n${treeHash(entries.map(leafHash)).toString('base64')}\n`;
  return `${text}\n${log.line(text)}${witnesses.map((witness) => witness.line(text)).join('')}`;
}

// Writes a whole, consistent log.
export function writeLog(folder, entries, checkpoint) {
  const leaves = entries.map(leafHash);
  for (const tile of tilesOf(entries.length)) {
    const path = join(folder, 'tile', tilePath(tile.level, tile.index, tile.width));
    mkdirSync(dirname(path), { recursive: true });
    const from = tile.index * 256;
    writeFileSync(path, tile.level === 'entries' ? bundle(entries.slice(from, from + tile.width)) : tileBytes(leaves, tile));
  }
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'checkpoint'), checkpoint);
}

// One of Go's verifiers, from sumdb/: verify_folder or verify_bundle.
export function buildGo(folder, name) {
  const sources = fileURLToPath(new URL('../sumdb', import.meta.url));
  const program = join(folder, name);
  execFileSync('go', ['build', '-o', program, join(sources, `${name}.go`), join(sources, 'common.go')],
    { env: { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOCACHE: process.env.GOCACHE ?? join(folder, 'cache') } });
  return program;
}
