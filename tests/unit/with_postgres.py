#!/usr/bin/env python3
"""Runs a test over a PostgreSQL cluster of its own: with_postgres.py PROGRAM [ARGUMENT]...

The cluster lives in a temporary folder, listens on a socket there, and ends with the program, which
finds how to connect in STORE_TEST_POSTGRES."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile

USER = 'postgres'


def binaries():
    found = sorted(glob.glob('/usr/lib/postgresql/*/bin/initdb'))
    if not found:
        sys.exit('with_postgres.py: PostgreSQL is not installed: run packaging/setup.sh test')
    return os.path.dirname(found[-1])


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a test that is stopped cleans up, too
    folder = tempfile.mkdtemp(prefix='test-postgres-', dir='/tmp')
    options = {}
    if os.getuid() == 0:  # the server refuses to run as root
        user = pwd.getpwnam(USER)
        os.chown(folder, user.pw_uid, user.pw_gid)
        os.chmod(folder, 0o755)
        options = {'user': user.pw_uid, 'group': user.pw_gid, 'extra_groups': []}
    bin_dir, data = binaries(), f'{folder}/data'
    quiet = {'stdout': subprocess.DEVNULL, 'cwd': folder, **options}
    try:
        subprocess.run([f'{bin_dir}/initdb', '-D', data, '-U', USER, '-A', 'trust', '-E', 'UTF8',
                        '--locale=C.UTF-8', '-N'], check=True, **quiet)
        server = subprocess.Popen(
            [f'{bin_dir}/postgres', '-D', data, '-k', folder, '-c', 'listen_addresses=',
             '-c', 'shared_buffers=16MB', '-c', 'log_min_messages=fatal'],
            stderr=subprocess.DEVNULL, **quiet)
        try:
            for _ in range(200):
                if subprocess.run([f'{bin_dir}/pg_isready', '-q', '-h', folder], check=False,
                                  **quiet).returncode == 0:
                    break
                server.poll()
                subprocess.run(['sleep', '0.05'], check=True)
            environment = {**os.environ,
                           'STORE_TEST_POSTGRES': f'host={folder} user={USER} dbname=postgres'}
            return subprocess.run(sys.argv[1:], env=environment, check=False).returncode
        finally:
            server.send_signal(signal.SIGQUIT if sys.exc_info()[0] else signal.SIGINT)
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
