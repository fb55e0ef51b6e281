// A wall clock that the test sets, under real programs (clockshift.c).
import { writeFile } from 'node:fs/promises';
import { programs, until } from './hub.mjs';

export const DAY = 86400;
const LATER = 200 * DAY; // the right time here, so that a clock set back is still within the CA's life
const bytesOf = (seconds) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(LATER + seconds));
  return bytes;
};
const count = (text, event) => text.split(` ${event} `).length - 1;

export class Clock {
  // Set right, in a file of that name.
  static async make(path) {
    const clock = new Clock();
    clock.path = path;
    await writeFile(path, bytesOf(0));
    return clock;
  }

  // What a program needs in its environment to go by it.
  get env() {
    return {
      LD_PRELOAD: programs.clockshift,
      CLOCKSHIFT_FILE: this.path,
      ASAN_OPTIONS: [process.env.ASAN_OPTIONS, 'verify_asan_link_order=0'].filter(Boolean).join(':'),
    };
  }

  // So many seconds off. In place: the programs have it mapped.
  set(seconds) {
    return writeFile(this.path, bytesOf(seconds), { flag: 'r+' });
  }

  // The same, until the hub that goes by it has a certificate for it, so that a client can judge it.
  async jump(hub, seconds) {
    const before = count(hub.log, 'tls.renewed');
    await this.set(seconds);
    await until(`the hub has a certificate for a clock that is ${seconds} s off`, () => count(hub.log, 'tls.renewed') > before);
  }
}
