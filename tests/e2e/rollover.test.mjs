// The authority is rolled over under real agents: root and issuing CA, and no device loses contact.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { access, cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Hub, as, enrolledDevice, openssl, until } from './lib/hub.mjs';
import { Agent } from './lib/agent.mjs';
import { holdfast } from './lib/cli.mjs';

const exists = (path) => access(path).then(() => true, () => false);

describe('the roll-over of the authority', { timeout: 240000 }, () => {
  let hub;
  const agents = new Map();
  let plain; // a device that renews when somebody makes it
  before(async () => {
    hub = await Hub.start({ 'checkin-interval': '1s', 'enrolment-per-minute': '1000000' });
    await hub.factory();
    for (const name of ['device', 'bootstrap', 'operator']) hub.config[`listen-${name}`] = `127.0.0.1:${hub.ports[name]}`;
    for (const [serial, code] of Object.entries(await hub.claims('a', 'b', 'sleeper', 'on-the-shelf', 'missed-it')))
      agents.set(serial, await Agent.make(hub, serial, { code }));
    for (const serial of ['a', 'b', 'sleeper', 'missed-it']) await agents.get(serial).start().saw('device.checked_in', 1, 60000);
    await agents.get('sleeper').stop();
    await agents.get('missed-it').stop();
    plain = await enrolledDevice(hub, 'plain');
    assert.equal((await as(hub, plain, '/v1/device/self')).status, 200);
  });
  after(async () => {
    for (const agent of agents.values()) await agent.stop();
    await hub.stop();
  });

  const cli = async (...words) => {
    const answer = await holdfast(['--socket', hub.socket, '--state', hub.state, '--config', join(hub.folder, 'hub.conf'), ...words]);
    return answer;
  };
  const must = async (...words) => {
    const { code, stdout, stderr } = await cli(...words);
    assert.equal(code, 0, `${words}: ${stderr}`);
    return stdout;
  };
  const roots = async () => (await readFile(hub.roots, 'utf8')).split('-----BEGIN').length - 1;
  const certificateOf = async (serial) => (await hub.must(200, 'GET', `/v1/devices/${serial}`)).certificate.serial;
  const checksInAgain = (serial) => agents.get(serial).saw('device.checked_in', agents.get(serial).events('device.checked_in').length + 2, 60000);
  // Nobody was turned away, and nobody saw a hub that it does not believe.
  const assertNobodyWasLost = () => {
    for (const [serial, agent] of agents) {
      assert.equal(agent.events('device.refused').length, 0, `${serial}:\n${agent.log.slice(-2000)}`);
      assert.doesNotMatch(agent.log, /did not prove that it is the hub/, serial);
    }
  };

  it('is prepared beside what is in use, and devices hear of both roots', async () => {
    const before = JSON.parse(await must('--json', 'ca', 'show'));
    await must('ca', 'prepare');
    const shown = JSON.parse(await must('--json', 'ca', 'show'));
    assert.equal(shown.issuing_sha256, before.issuing_sha256);
    assert.ok(shown.next_issuing.sha256);
    assert.match((await cli('ca', 'prepare')).stderr, /holdfast ca switch/);
    await must('ca', 'bundle', '--install');
    for (const serial of ['a', 'b']) await agents.get(serial).saw('device.bundle_followed', 1, 60000);
    assert.equal(await roots(), 1);
  });

  it('issues under the new authority after the switch, and takes what the old one issued', async () => {
    const old = JSON.parse(await must('--json', 'ca', 'show')).issuing_sha256;
    await must('ca', 'switch');
    await hub.restart();
    const shown = JSON.parse(await must('--json', 'ca', 'show'));
    assert.equal(shown.previous_issuing.sha256, old);
    assert.equal((await hub.must(200, 'GET', '/v1/hub')).ca.issuing_sha256, shown.issuing_sha256);
    assert.equal(await roots(), 2);
    for (const serial of ['a', 'b']) await checksInAgain(serial);
    assert.equal((await as(hub, plain, '/v1/device/self')).status, 200);
    assertNobodyWasLost();
  });

  it('is believed by one that slept through the bundle, and by one that was made before it', async () => {
    const sleeper = agents.get('sleeper');
    sleeper.log = '';
    await sleeper.start().saw('device.checked_in', 1, 60000);
    await sleeper.saw('device.bundle_followed', 1, 60000);
    const shelf = agents.get('on-the-shelf');
    await shelf.start().saw('device.enrolled', 1, 60000);
    await shelf.saw('device.bundle_followed', 1, 60000);
    assertNobodyWasLost();
  });

  it('moves all devices to the new authority by a rotation, and says who is missing', async () => {
    const before = new Map();
    for (const serial of ['a', 'b', 'sleeper']) before.set(serial, await certificateOf(serial));
    for (const serial of before.keys()) { // one that was just started follows a rotation at once
      await agents.get(serial).stop();
      agents.get(serial).log = '';
      await agents.get(serial).start().saw('device.checked_in', 1, 60000);
    }
    const { id } = JSON.parse(await must('--json', 'device', 'rotate', '--all', '--reason', 'a new authority', '--over', '1s'));
    await until('those that are awake have renewed', async () => (await hub.must(200, 'GET', `/v1/rotations/${id}`)).renewed >= 4, 90000);
    for (const [serial, certificate] of before) assert.notEqual(await certificateOf(serial), certificate, serial);
    const { stragglers } = await hub.must(200, 'GET', `/v1/rotations/${id}/stragglers`);
    assert.deepEqual(stragglers.map(({ device }) => device).sort(), ['missed-it', 'plain']);
    // What they have now leads to the new root alone, by the eyes of openssl.
    const all = (await readFile(hub.roots, 'utf8')).match(/-----BEGIN[^]*?-----END CERTIFICATE-----\n/g);
    const [fresh, old] = [join(hub.folder, 'new-root.pem'), join(hub.folder, 'old-root.pem')];
    await writeFile(fresh, all[0]);
    await writeFile(old, all[1]);
    const chain = join(hub.folder, 'chain.pem');
    await writeFile(chain, await openssl(['storeutl', '-certs', join(hub.state, 'signer', 'issuing.pem')]));
    const own = join(hub.folder, 'a.pem');
    const name = (await agents.get('a').files()).find((one) => one.startsWith('certificate-'));
    await writeFile(own, await openssl(['x509', '-inform', 'DER', '-in', join(agents.get('a').state, name)]));
    assert.match(String(await openssl(['verify', '-CAfile', fresh, '-untrusted', chain, own])), /OK/);
    assert.match(String(await openssl(['verify', '-CAfile', old, '-untrusted', chain, own])), /OK/);
    assertNobodyWasLost();
  });

  it('gives the old authority up only when it is told so, and then for good', async () => {
    const stolen = join(hub.folder, 'stolen');
    await cp(agents.get('missed-it').folder, stolen, { recursive: true });
    assert.equal((await cli('ca', 'finish')).code, 2, 'nobody is there to be asked');
    assert.equal(await roots(), 2);
    await must('ca', 'finish', '--yes');
    assert.ok(!await exists(join(hub.state, 'signer', 'previous-issuing.key')), 'the old key is gone');
    await must('ca', 'bundle', '--install');
    await hub.restart();
    for (const serial of ['a', 'b', 'sleeper']) {
      await agents.get(serial).saw('device.bundle_followed', agents.get(serial).events('device.bundle_followed').length, 60000);
      await checksInAgain(serial);
    }
    assertNobodyWasLost();
    assert.equal(await roots(), 1);
    const refused = await as(hub, plain, '/v1/device/self');
    assert.ok(refused.curl !== undefined, `its certificate leads to no root any more: ${JSON.stringify(refused)}`);
    const late = agents.get('missed-it');
    late.log = '';
    late.start();
    const [line] = await late.saw('device.failed', 1, 60000);
    assert.match(line, /did not prove that it is the hub/);
    await late.stop();
    agents.delete('missed-it');
    assert.match((await cli('ca', 'finish', '--yes')).stderr, /no previous authority/);
  });
});
