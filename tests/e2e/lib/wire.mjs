// Connections kept open on purpose, and bytes on them that no HTTP library would send.
import net from 'node:net';
import tls from 'node:tls';
import { readFile } from 'node:fs/promises';

export class Wire {
  constructor(socket) {
    this.socket = socket;
    this.bytes = Buffer.alloc(0);
    this.wake = () => {};
    socket.on('data', (data) => {
      this.bytes = Buffer.concat([this.bytes, data]);
      this.wake();
    });
    socket.on('error', (error) => (this.error = error));
    this.closed = new Promise((done) => socket.once('close', () => {
      this.isClosed = true;
      this.closedAt = performance.now();
      this.wake();
      done(this);
    }));
    socket.on('end', () => {
      this.isEnded = true;
      this.wake();
    });
  }

  send(bytes) {
    this.socket.write(bytes);
  }

  // One whole answer, or an error that says what came instead.
  async answer({ toHead = false, ms = 15000 } = {}) {
    const end = Date.now() + ms;
    for (;;) {
      const answer = this.take(toHead);
      if (answer) return answer;
      if (this.isClosed || this.isEnded)
        throw new Error(`closed before a whole answer: ${this.error?.code ?? ''} ${JSON.stringify(this.bytes.toString('latin1').slice(0, 200))}`);
      if (Date.now() >= end) throw new Error(`no whole answer in ${ms} ms: ${JSON.stringify(this.bytes.toString('latin1').slice(0, 200))}`);
      await new Promise((done) => {
        const timer = setTimeout(done, end - Date.now());
        this.wake = () => { clearTimeout(timer); done(); };
      });
    }
  }

  take(toHead) {
    const split = this.bytes.indexOf('\r\n\r\n');
    if (split < 0) return undefined;
    const lines = this.bytes.subarray(0, split).toString('latin1').split('\r\n');
    const headers = {};
    for (const line of lines.slice(1)) {
      const at = line.indexOf(':');
      headers[line.slice(0, at).toLowerCase()] = line.slice(at + 1).trim();
    }
    const status = Number(lines[0].split(' ')[1]);
    const length = toHead || status === 204 ? 0 : Number(headers['content-length'] ?? 0);
    if (this.bytes.length < split + 4 + length) return undefined;
    const body = this.bytes.subarray(split + 4, split + 4 + length);
    this.bytes = this.bytes.subarray(split + 4 + length);
    const isJson = /json/.test(headers['content-type'] ?? '') && length > 0;
    return { status, headers, body, json: isJson ? JSON.parse(body) : undefined };
  }

  async request(method, path, { headers = {}, body, ms } = {}) {
    const fields = { Host: 'localhost', ...headers };
    if (body !== undefined) fields['Content-Length'] = Buffer.byteLength(body);
    const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    this.send(`${method} ${path} HTTP/1.1\r\n${head}\r\n${body ?? ''}`);
    return this.answer({ toHead: method === 'HEAD', ms });
  }

  // True where the other side ends it in time.
  async endsWithin(ms) {
    const timer = new Promise((done) => setTimeout(done, ms, false).unref());
    return Promise.race([this.closed.then(() => true), timer]);
  }

  destroy() {
    this.socket.destroy();
  }
}

function opened(socket, event) {
  return new Promise((resolve, reject) => {
    socket.once(event, resolve);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed while connecting')));
  });
}

// A TCP connection without TLS. `address`: the one it comes from.
export async function connectPlain(hub, listener, { address } = {}) {
  const socket = net.connect({ host: '127.0.0.1', port: Number(hub.ports[listener]), localAddress: address });
  const wire = new Wire(socket);
  await opened(socket, 'connect');
  return wire;
}

export async function credentialsOf(device) {
  if (device === undefined) return {};
  return { key: device.keyPem ?? await readFile(device.key), cert: device.certificatePem ?? await readFile(device.certificate) };
}

// A TLS connection; `device` gives it a client certificate, the rest is for tls.connect().
export async function connect(hub, listener, { device, address, ...options } = {}) {
  const socket = tls.connect({
    host: '127.0.0.1', port: Number(hub.ports[listener]), localAddress: address, servername: 'localhost',
    ca: await readFile(hub.roots), ...await credentialsOf(device), ...options,
  });
  const sessions = [];
  socket.on('session', (session) => sessions.push(session));
  const wire = new Wire(socket);
  wire.sessions = sessions;
  await opened(socket, 'secureConnect');
  return wire;
}

// A TLS connection together with the TCP connection beneath it, to write beside TLS.
export async function connectOver(hub, listener, { device } = {}) {
  const plain = net.connect({ host: '127.0.0.1', port: Number(hub.ports[listener]) });
  await opened(plain, 'connect');
  const socket = tls.connect({ socket: plain, servername: 'localhost', ca: await readFile(hub.roots), ...await credentialsOf(device) });
  const wire = new Wire(socket);
  await opened(socket, 'secureConnect');
  return { wire, plain };
}
