// The manual pages say what the programs understand.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { holdfast } from './lib/cli.mjs';

const run = promisify(execFile);
const root = new URL('../../', import.meta.url).pathname;

describe('the manual', () => {
  const page = (name) => readFile(join(root, 'man', name), 'utf8');

  it('names every noun, verb and option', async () => {
    const { stdout: help } = await holdfast(['help']);
    const nouns = [...help.split('Options of')[0].matchAll(/^ {2}(\w+) /gm)].map(([, noun]) => noun);
    assert.ok(nouns.length >= 10);
    const main = await page('holdfast.1');
    const files = await readdir(join(root, 'man'));
    for (const noun of nouns) {
      assert.match(main, new RegExp(`^\\.It Cm ${noun}\\b`, 'm'));
      const own = files.includes(`holdfast-${noun}.1`) ? await page(`holdfast-${noun}.1`) : main;
      const { stdout } = await holdfast(['help', noun]);
      const verbs = [...(stdout.split('\nVerbs\n')[1] ?? '').split('\n\n')[0].matchAll(/^ {2}(\w+) /gm)].map(([, verb]) => verb);
      for (const verb of verbs) {
        assert.match(own, new RegExp(`\\b${verb}\\b`), `${noun} ${verb}`);
        const { stdout: one } = await holdfast(['help', noun, verb]);
        const options = (one.split('\nOptions\n')[1] ?? '').split('\n\n')[0];
        for (const [, option] of options.matchAll(/--([a-z-]+)/g))
          assert.match(own, new RegExp(`Fl (\\w , )?-${option}\\b|, -${option}\\b`), `${noun} ${verb} --${option}`);
      }
    }
    for (const [, option] of help.split('Options of')[1].matchAll(/^ .{5} --([a-z-]+)/gm))
      assert.match(main, new RegExp(`-${option}\\b`), option);
  });

  it('names every key of the configurations', async () => {
    const sources = [['hub/config.c', /KEY\("([a-z-]+)"/g, 'holdfast-hub.conf.5'],
                     ['device/agent/settings.c', /^ {4}(?:TEXT|PATH|DURATION)\("([a-z-]+)"/gm, 'holdfast-agent.conf.5']];
    for (const [source, pattern, name] of sources) {
      const text = await page(name);
      const keys = [...(await readFile(join(root, source), 'utf8')).matchAll(pattern)].map(([, key]) => key);
      assert.ok(keys.length > 10);
      for (const key of keys) assert.match(text, new RegExp(`^\\.It Ic (.*, )?${key}\\b`, 'm'), `${name}: ${key}`);
    }
  });

  it('names every key of a policy', async () => {
    const keys = new Set();
    const walk = (schema) => {
      for (const [key, value] of Object.entries(schema.properties ?? {})) {
        keys.add(key);
        walk(value);
      }
      for (const inner of [schema.items, schema.additionalProperties].filter(Boolean)) walk(inner);
    };
    walk(JSON.parse((await holdfast(['policy', 'schema'])).stdout));
    assert.ok(keys.size > 40);
    const [manual, reference] = [await page('holdfast-policy.5'), await readFile(join(root, 'docs/reference/policy.md'), 'utf8')];
    for (const key of keys) {
      assert.match(manual, new RegExp(`\\bIc ${key}\\b`), key);
      assert.match(reference, new RegExp(`\`${key}\``), key);
    }
  });

  it('is well formed', async (t) => {
    try {
      await run('mandoc', ['-T', 'lint', '-W', 'warning', ...(await readdir(join(root, 'man'))).filter((name) => /\.[158]$/.test(name)).map((name) => join(root, 'man', name))]);
    } catch (error) {
      if (error.code === 'ENOENT') t.skip('there is no mandoc(1)');
      else assert.fail(error.stdout + error.stderr);
    }
  });
});
