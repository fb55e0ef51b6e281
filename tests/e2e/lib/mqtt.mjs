// MQTT by hand: for packets that no client library would send, and for what such a library hides (reason
// codes, flags). MQTT 5.0 unless said otherwise.
import tls from 'node:tls';

const text = (value) => {
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

function packet(first, body) {
  const length = [];
  let left = body.length;
  do {
    length.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    left >>= 7;
  } while (left > 0);
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}

export class Mqtt {
  // Over TLS, as far as the handshake.
  static open({ host, port, roots, certificate, key, from }) {
    return new Promise((done, fail) => {
      const client = new Mqtt();
      client.socket = tls.connect({ port, host: '127.0.0.1', servername: host, ca: roots, cert: certificate, key, localAddress: from });
      client.socket.once('secureConnect', () => done(client));
      client.socket.on('error', fail);
      client.socket.on('data', (data) => client.receive(data));
      client.closed = new Promise((end) => client.socket.once('close', () => {
        client.isClosed = true;
        client.wake();
        end();
      }));
    });
  }

  constructor() {
    this.bytes = Buffer.alloc(0);
    this.packets = [];
    this.wake = () => {};
    this.id = 0;
  }

  receive(data) {
    this.bytes = Buffer.concat([this.bytes, data]);
    for (;;) {
      let length = 0, at = 1, shift = 0;
      for (;; at++, shift += 7) {
        if (at >= this.bytes.length) return;
        length |= (this.bytes[at] & 0x7f) << shift;
        if (!(this.bytes[at] & 0x80)) break;
      }
      if (this.bytes.length < at + 1 + length) return;
      this.packets.push({ type: this.bytes[0] >> 4, flags: this.bytes[0] & 15, body: this.bytes.subarray(at + 1, at + 1 + length), at: performance.now() });
      this.bytes = this.bytes.subarray(at + 1 + length);
      this.wake();
    }
  }

  // The next packet of a type; undefined where the connection ends, or the time is over, before it comes.
  async next(type, ms = 10000) {
    const end = Date.now() + ms;
    for (;;) {
      const place = this.packets.findIndex((p) => p.type === type);
      if (place >= 0) return this.packets.splice(place, 1)[0];
      if (this.isClosed || Date.now() >= end) return undefined;
      await new Promise((done) => {
        const timer = setTimeout(done, 50);
        this.wake = () => { clearTimeout(timer); done(); };
      });
    }
  }

  send(bytes) {
    this.socket.write(bytes);
  }

  // {reason, present} of the CONNACK, or undefined where none came.
  async connect(id, { version = 5, clean = true, expiry = 0, will, username, password, ms } = {}) {
    const flags = (clean ? 2 : 0) | (will ? 4 | (will.retain ? 0x20 : 0) : 0) | (username !== undefined ? 0x80 : 0) | (password !== undefined ? 0x40 : 0);
    const properties = version < 5 ? Buffer.alloc(0)
      : expiry ? Buffer.from([5, 0x11, expiry >>> 24, (expiry >> 16) & 255, (expiry >> 8) & 255, expiry & 255]) : Buffer.from([0]);
    const parts = [text('MQTT'), Buffer.from([version, flags, 0, 60]), properties, text(id)];
    if (will) parts.push(Buffer.from(version < 5 ? [] : [0]), text(will.topic), text(will.payload));
    if (username !== undefined) parts.push(text(username));
    if (password !== undefined) parts.push(text(password));
    this.version = version;
    this.send(packet(0x10, Buffer.concat(parts)));
    const answer = await this.next(2, ms);
    return answer && { present: (answer.body[0] & 1) === 1, reason: answer.body[1] };
  }

  // Reason codes, one for each filter.
  async subscribe(...filters) {
    const id = ++this.id;
    this.send(packet(0x82, Buffer.concat([Buffer.from([id >> 8, id & 255, ...(this.version < 5 ? [] : [0])]),
      ...filters.map((filter) => Buffer.concat([text(filter), Buffer.from([1])]))])));
    const answer = await this.next(9);
    return answer && [...answer.body.subarray(this.version < 5 ? 2 : 3)];
  }

  // The reason code of the PUBACK; undefined where none came.
  async publish(topic, payload, { retain = false } = {}) {
    const id = ++this.id;
    this.send(packet(0x32 | (retain ? 1 : 0), Buffer.concat([text(topic), Buffer.from([id >> 8, id & 255, ...(this.version < 5 ? [] : [0])]), Buffer.from(payload)])));
    const answer = await this.next(4);
    return answer && (answer.body.length > 2 ? answer.body[2] : 0);
  }

  // The next message that came: {topic, payload, retain}.
  async message(ms) {
    const answer = await this.next(3, ms);
    if (!answer) return undefined;
    const length = answer.body.readUInt16BE(0);
    let at = 2 + length + (answer.flags & 6 ? 2 : 0);
    if (this.version >= 5) at += 1 + answer.body[at];
    return { topic: answer.body.subarray(2, 2 + length).toString(), payload: answer.body.subarray(at).toString(), retain: (answer.flags & 1) === 1, at: answer.at };
  }

  disconnect() {
    this.send(Buffer.from([0xe0, 0]));
    return this.closed;
  }

  // Without a word: the broker sends the last will.
  drop() {
    this.socket.destroy();
    return this.closed;
  }
}
