// The holdfast command as a script runs it: without a terminal.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { programs } from './hub.mjs';

export const lines = (text) => text.trimEnd().split('\n');

// Gives exit status and output.
export async function holdfast(words, { env = {}, input } = {}) {
  const child = spawn(programs.cli, words, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '', stderr = '';
  child.stdout.setEncoding('utf8').on('data', (data) => (stdout += data));
  child.stderr.setEncoding('utf8').on('data', (data) => (stderr += data));
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  const code = await new Promise((done) => child.on('close', done));
  assert.doesNotMatch(stderr, /Sanitizer|runtime error/);
  return { code, stdout, stderr };
}
