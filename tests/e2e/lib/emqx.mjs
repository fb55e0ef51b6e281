// A small server in the place of EMQX 5's management API, written from its description: what is asked of it in a cut
// (/api/v5/banned, /api/v5/clients), with a memory of its own. HTTPS, and HTTP Basic with an API key.
import https from 'node:https';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openssl } from './hub.mjs';

export const API_KEY = 'holdfast:a-secret-key';

export class Emqx {
  constructor(folder) {
    this.folder = folder;
    this.clients = new Map(); // client id -> how it is shown
    this.banned = new Map(); // client id -> the ban
    this.asked = []; // "METHOD target", in order
    this.keeps = 0; // so many ends of sessions are answered, and not done
    this.answer = undefined; // a status that everything is answered with
  }

  static async start(folder) {
    const emqx = new Emqx(folder);
    const at = (name) => join(folder, name);
    emqx.roots = at('emqx.pem');
    await openssl(['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at('emqx.key'), '-out', emqx.roots, '-days', '30', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']);
    emqx.tls = { key: await readFile(at('emqx.key')), cert: await readFile(emqx.roots) };
    await emqx.listen();
    return emqx;
  }

  async listen() {
    this.server = https.createServer(this.tls, (request, response) => this.handle(request, response));
    this.server.listen(this.port ?? 0, '127.0.0.1');
    await new Promise((resolve, reject) => {
      this.server.once('listening', resolve);
      this.server.once('error', reject);
    });
    this.port = this.server.address().port;
  }

  async stop() {
    const closed = new Promise((done) => this.server.close(done));
    this.server.closeAllConnections();
    await closed;
  }

  connect(...ids) {
    for (const clientid of ids) this.clients.set(clientid, { clientid, username: `default/${clientid}`, connected: true, node: 'emqx@127.0.0.1', proto_name: 'MQTT', proto_ver: 5, mountpoint: null, subscriptions_cnt: 1, client_attrs: {} });
  }

  handle(request, response) {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      this.asked.push(`${request.method} ${request.url}`);
      const [status, body] = this.decide(request, Buffer.concat(parts).toString());
      response.writeHead(status, body === undefined ? {} : { 'Content-Type': 'application/json' });
      response.end(body === undefined ? '' : JSON.stringify(body));
    });
  }

  decide(request, text) {
    if (request.headers.authorization !== `Basic ${Buffer.from(API_KEY).toString('base64')}`) return [401, { code: 'BAD_API_KEY_OR_SECRET', message: 'Check api_key/api_secret' }];
    if (this.answer) return [this.answer, { code: 'INTERNAL_ERROR', message: 'as told' }];
    const url = new URL(request.url, 'https://localhost');
    const [kind, ...rest] = url.pathname.replace('/api/v5/', '').split('/').map(decodeURIComponent);
    if (kind === 'banned' && request.method === 'POST') return this.ban(JSON.parse(text));
    if (kind === 'banned' && request.method === 'DELETE' && rest[0] === 'clientid') return this.banned.delete(rest[1]) ? [204] : [404, { code: 'NOT_FOUND', message: 'not found' }];
    if (kind === 'clients' && request.method === 'GET' && rest.length === 0) return this.list(url.searchParams);
    if (kind === 'clients' && rest.length === 1) return this.client(request.method, rest[0]);
    return [404, { code: 'NOT_FOUND', message: 'Request Path Not Found' }];
  }

  ban(ban) {
    if (ban.as !== 'clientid' || typeof ban.who !== 'string' || !(Date.parse(ban.until) > Date.now())) return [400, { code: 'BAD_REQUEST', message: 'bad' }];
    if (this.banned.has(ban.who)) return [400, { code: 'ALREADY_EXISTS', message: JSON.stringify(this.banned.get(ban.who)) }];
    this.banned.set(ban.who, ban);
    return [200, { ...ban, at: new Date().toISOString() }];
  }

  list(query) {
    const [page, limit] = [Number(query.get('page')), Number(query.get('limit'))];
    const all = [...this.clients.values()].filter(({ clientid }) => clientid.includes(query.get('like_clientid')));
    return [200, { data: all.slice((page - 1) * limit, page * limit), meta: { page, limit, count: all.length, hasnext: page * limit < all.length } }];
  }

  client(method, id) {
    if (!this.clients.has(id)) return [404, { code: 'CLIENTID_NOT_FOUND', message: 'Client ID not found' }];
    if (method === 'GET') return [200, this.clients.get(id)];
    if (method !== 'DELETE') return [405, { code: 'METHOD_NOT_ALLOWED', message: 'no' }];
    if (this.keeps > 0) this.keeps--;
    else this.clients.delete(id);
    return [204];
  }
}
