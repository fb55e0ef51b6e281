// holdfast policy, where no hub is needed: examples hold, what is wrong is shown, editors agree.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { holdfast, lines } from './lib/cli.mjs';
import { programs } from './lib/hub.mjs';

const run = promisify(execFile);
const root = new URL('../../', import.meta.url).pathname;
const HEAD = 'holdfast: 1\nfleet: acme-hq\nmodels:\n  thermo:\n    identity: {maker: acme}\n';

// What those who are used to read their own floor or ward warn of; nothing else does.
const EXAMPLES = {
  building: [/'controller' reads what every 'thermostat' publishes/, /'controller' publishes to what every 'thermostat' listens to/],
  factory: [/'cell-controller' reads what every 'press' publishes/, /'cell-controller' publishes to what every 'press' listens to/, /'historian' reads what every 'press' publishes/],
  clinic: [/'ward-station' reads what every 'infusion-pump' publishes/, /'ward-station' publishes to what every 'monitor' listens to/],
};

// Another program's judgement, and another YAML reader's.
const VALIDATE = `
import json, sys, yaml, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
for path in sys.argv[2:]:
    errors = list(validator.iter_errors(yaml.safe_load(open(path, encoding='utf-8'))))
    print(json.dumps([error.message for error in errors]))
`;

describe('a policy without a hub', () => {
  let folder, file;
  const write = (text, name = 'policy.yaml') => writeFile(join(folder, name), text);
  const policy = (verb, ...words) => holdfast(['policy', verb, ...words]);
  const refused = async (text, place, line, caret) => {
    await write(text);
    const { code, stdout, stderr } = await policy('check', file);
    assert.equal(code, 1, stderr);
    assert.equal(stdout, '');
    assert.ok(stderr.startsWith(`holdfast: ${file}:${place}`), stderr);
    if (line !== undefined) assert.deepEqual(lines(stderr).slice(1), [line, caret]);
    return stderr;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-policy-'));
    file = join(folder, 'policy.yaml');
  });
  after(() => rm(folder, { recursive: true, force: true }));

  for (const [name, warnings] of Object.entries(EXAMPLES)) {
    it(`takes the example of a ${name}`, async () => {
      const path = join(root, 'examples', name, 'policy.yaml');
      const checked = await policy('check', '--json', path);
      assert.equal(checked.code, 0, checked.stderr);
      const document = JSON.parse(checked.stdout);
      assert.equal(document.good, true);
      assert.deepEqual(document.problems, []);
      assert.equal(document.models, 5);
      assert.equal(document.tenants, { building: 2, factory: 3, clinic: 1 }[name]);
      assert.equal(document.warnings.length, warnings.length);
      document.warnings.forEach(({ text }, i) => assert.match(text, warnings[i]));
      const tested = await policy('test', '--json', path);
      assert.equal(tested.code, 0, tested.stdout);
      assert.deepEqual(JSON.parse(tested.stdout), { file: path, passed: document.tests, failed: 0, failures: [] });
      assert.ok(document.tests > 30);
    });

    it(`tests each thing that the ${name} lets a model do`, async () => {
      // Each filter that is taken away must be missed by a test, or nobody would notice.
      const text = await readFile(join(root, 'examples', name, 'policy.yaml'), 'utf8');
      const all = text.split('\n');
      const filters = all.flatMap((line, i) => (/^ {6}- \S+\/\S*$/.test(line) && i < all.indexOf('tests:') ? [i] : []));
      assert.ok(filters.length >= 8);
      const missed = [];
      for (const i of filters) {
        await write([...all.slice(0, i), '      - unused', ...all.slice(i + 1)].join('\n'));
        if ((await policy('test', file)).code === 0) missed.push(all[i].trim());
      }
      assert.deepEqual(missed, []);
    });
  }

  it('is written as the how-to says', async () => {
    const text = await readFile(join(root, 'docs/how-to/write-a-policy.md'), 'utf8');
    const pieces = [...text.matchAll(/```yaml\n([^]*?)```/g)].map(([, piece]) => piece);
    assert.equal(pieces.length, 4); // the smallest, its topics, a group, tests
    await write(pieces[0]);
    assert.equal((await policy('check', file)).code, 0);
    await write(pieces.join(''));
    const { code, stdout, stderr } = await policy('test', file);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /^7 tests passed/);
    assert.equal((await policy('check', file)).stderr, '');
    await write(pieces.join('').replace('subscribe: ["fleet/{model}/{device}/down/#"]', 'subscribe: ["fleet/#"]'));
    assert.ok((await policy('check', file)).stderr.includes(text.match(/every device of model 'thermo' reads .*/)[0]));
    const failed = await policy('test', file);
    assert.equal(failed.code, 1);
    assert.match(failed.stdout, /a trusted thermo 'thermo-1' may not subscribe 'fleet\/thermo\/\+\/up\/#'\n {7}it may: a filter/);
  });

  it('shows where it is wrong', async () => {
    const said = await refused(HEAD + '    limits: {messagse: 60/min}\n', '6:14: ', '    6 |     limits: {messagse: 60/min}', '      |              ^');
    assert.match(said, /'messagse' is not known here; did you mean 'messages'\?/);
    await refused(HEAD + '    limits: {messages: 60}\n', '6:24: ', '    6 |     limits: {messages: 60}', '      |                        ^');
    await refused('holdfast: 1\n\tfleet: x\n', '2:1: ', '    2 |  fleet: x', '      | ^');
    await refused(HEAD + '    publish: &all [a]\n', '6:14: ');
    await refused('', '1:1: the file says nothing');
    await refused(HEAD + `    publish: [${'"aaaa", '.repeat(20)}"b/#/c"]\n`, '6:175: ');
  });

  it('cannot be made to speak to the terminal', async () => {
    await write(HEAD + '    "\\e[31m": 1\n');
    const { code, stderr } = await policy('check', file);
    assert.equal(code, 1);
    assert.doesNotMatch(stderr, /\x1b/);
    await write(Buffer.concat([Buffer.from(HEAD), Buffer.from([0x1b, 0x5b, 0x33, 0x31, 0x6d, 0xff, 0x0a])]));
    assert.doesNotMatch((await policy('check', file)).stderr, /\x1b/);
  });

  it('tells programs where it is wrong', async () => {
    await write(HEAD + '    password: yes\n');
    const { code, stdout, stderr } = await policy('check', '--json', file);
    assert.equal(code, 1);
    const document = JSON.parse(stdout);
    assert.equal(document.good, false);
    assert.equal(document.problems.length, 1);
    assert.equal(document.problems[0].line, 6);
    assert.equal(document.problems[0].column, 15);
    assert.match(document.problems[0].text, /must be true or false/);
    assert.equal(JSON.parse(stderr).code, 'policy-malformed');
  });

  it('names the tests that fail, and what the rules say', async () => {
    await write(HEAD + '    subscribe: [all/#]\ntests:\n' +
      '  - {device: t-1, model: thermo, may-not: {subscribe: all/+}}\n' +
      '  - {device: t-1, model: thermo, may-not: {subscribe: "#"}}\n' +
      '  - {device: t-1, model: thermo, state: quarantined, reaches: [enrolment, mqtt]}\n');
    const { code, stdout, stderr } = await policy('test', file);
    assert.equal(code, 1);
    assert.deepEqual(lines(stdout), [
      `failed ${file}:8: a trusted thermo 't-1' may not subscribe 'all/+'`,
      '       it may: a filter of its model or group covers that',
      `failed ${file}:10: a quarantined thermo 't-1' reaches mqtt`,
      '       it does not']);
    assert.match(stderr, /2 of 4 tests failed/);
    assert.match(stderr, / 8 \| {3}- \{device: t-1/);
    const json = await policy('test', '--json', file);
    assert.equal(json.code, 1);
    const document = JSON.parse(json.stdout);
    assert.deepEqual([document.passed, document.failed], [2, 2]);
    assert.deepEqual(document.failures.map(({ line }) => line), [8, 10]);
  });

  it('takes policy.yaml in this folder where none is named', async () => {
    await write(HEAD);
    const { stdout } = await run(programs.cli, ['policy', 'check'], { cwd: folder });
    assert.match(stdout, /^good: 1 model, 0 groups/);
  });

  it('says what file it cannot read', async () => {
    const { code, stderr } = await policy('check', join(folder, 'none.yaml'));
    assert.equal(code, 6);
    assert.match(stderr, /none\.yaml: No such file/);
    await write('#'.repeat(262145));
    const large = await policy('check', file);
    assert.equal(large.code, 1);
    assert.match(large.stderr, /at most 262144 bytes/);
  });

  describe('its schema', () => {
    const judge = async (...texts) => {
      const paths = [];
      for (const [i, text] of texts.entries()) {
        await write(text, `${i}.yaml`);
        paths.push(join(folder, `${i}.yaml`));
      }
      const { stdout } = await run('/usr/bin/python3', ['-c', VALIDATE, join(folder, 'schema.json'), ...paths]);
      return lines(stdout).map((line) => JSON.parse(line));
    };
    before(async () => {
      const { code, stdout } = await policy('schema');
      assert.equal(code, 0);
      await write(stdout, 'schema.json');
    });

    it('agrees with what is taken', async () => {
      const texts = await Promise.all(Object.keys(EXAMPLES).map((name) => readFile(join(root, 'examples', name, 'policy.yaml'), 'utf8')));
      const full = await readFile(join(root, 'fuzz/corpus/policy/every-key'), 'utf8');
      assert.deepEqual(await judge(...texts, full, HEAD), [[], [], [], [], []]);
    });

    it('agrees with what is refused', async () => {
      const model = (text) => `${HEAD}    ${text}\n`;
      const texts = ['fleet: f\nmodels: {}\n', 'holdfast: 2\nfleet: f\nmodels: {}\n', HEAD + 'zebra: 1\n', model('publish: a'),
        model('publish: ["a/#/b"]'), model('publish: ["a+"]'), model('publish: ["{devcie}"]'), model('publish: ["{model}-{device}"]'),
        model('publish: [""]'), model('subscribe: [$CONTROL/x]'), model('limits: {messages: 60}'), model('limits: {bytes: 1MB/min}'),
        model('limits: {subscriptions: 0}'), model('limits: {stale: "30"}'), model('password: "true"'), model('reach: {revoked: [api]}'),
        model('reach: {trusted: [api, api]}'), model('cut: {will: keep}'), HEAD.replace('thermo', '-x'), HEAD.replace('thermo', 'a/b'),
        HEAD.replace('maker: acme', 'lifetime: 1d'), HEAD.replace('acme-hq', 'Acme'), HEAD + 'changes: {approvals: 3}\n',
        HEAD + 'tests: [{device: d, model: thermo, may: {publish: "#"}}]\n', HEAD + 'tests: [{device: d, model: thermo, reaches: []}]\n'];
      const judged = await judge(...texts);
      for (const [i, text] of texts.entries()) {
        assert.ok(judged[i].length > 0, text);
        await write(text);
        assert.equal((await policy('check', file)).code, 1, text);
      }
    });
  });
});
