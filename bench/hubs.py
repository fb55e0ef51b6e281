"""Durable, ledgered writes through the hub's store: over SQLite, over PostgreSQL by one process, and by two
that share the database, each with clients of its own."""

import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

import rig

WIDTH = 256  # writes in flight, of each process
USER = "postgres"


class Postgres:
    """A cluster in a temporary folder, as Debian's package sets one up, but for what listens."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="holdfast-bench-")
        self.options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.folder}
        if os.getuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam(USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            os.chmod(self.folder, 0o755)
            self.options.update(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        self.bin = os.path.dirname(sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))[-1])
        self.do("initdb", "-D", f"{self.folder}/data", "-U", USER, "-A", "trust", "-E", "UTF8",
                "--locale=C.UTF-8")
        self.server = subprocess.Popen(
            [f"{self.bin}/postgres", "-D", f"{self.folder}/data", "-k", self.folder, "-c",
             "listen_addresses="], **self.options)
        rig.wait_for("PostgreSQL to listen", lambda: self.do("pg_isready", "-h", self.folder, check=False) == 0)

    def do(self, name, *words, check=True):
        return subprocess.run([f"{self.bin}/{name}", *words], check=check, **self.options).returncode

    def database(self, name):
        self.do("createdb", "-h", self.folder, "-U", USER, name)
        return f"postgresql:///{name}?host={self.folder}&user={USER}"

    def stop(self):
        self.server.send_signal(signal.SIGINT)
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def write(url, processes):
    """Writes per second of each of the processes, which write at the same time."""
    words = [rig.program("bench/hub_writes"), url]
    running = []
    for number in range(processes):
        one = subprocess.Popen([*words, str(number), str(rig.SECONDS), str(WIDTH)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        if one.stdout.readline() != "ready\n":
            raise RuntimeError("hub_writes did not get ready")
        running.append(one)
    for one in running:
        one.stdin.write("\n")
        one.stdin.flush()
    results = []
    for one in running:
        text, _ = one.communicate(timeout=rig.SECONDS + 120)
        if one.returncode != 0:
            raise RuntimeError("hub_writes failed")
        results.append(json.loads(text))
    return results


def rate(results):
    return sum(result["writes_per_second"] for result in results)


def run():
    postgres = Postgres()
    folder = tempfile.mkdtemp(prefix="holdfast-bench-")
    rates = {"sqlite": [], "write-1": [], "write-2": []}
    shares, slowest = [], []
    try:
        for turn in range(rig.ROUNDS):
            rig.say(f"round {turn + 1} of {rig.ROUNDS}")
            rates["sqlite"].append(rate(write(f"sqlite:{folder}/hub-{turn}.db", 1)))
            before = rate(write(postgres.database(f"before_{turn}"), 1))
            two = write(postgres.database(f"two_{turn}"), 2)
            # One before and one after: a machine that gets busier meanwhile does not tell against two.
            rates["write-1"].append((before + rate(write(postgres.database(f"after_{turn}"), 1))) / 2)
            rates["write-2"].append(rate(two))
            shares.append(min(result["writes_per_second"] for result in two) / rate(two))
            slowest.append(max(result["slowest_ms"] for result in two))
            rig.say(", ".join(f"{name} {kept[-1]:.0f}/s" for name, kept in rates.items()) +
                    f"; of two, the lesser has {shares[-1]:.0%}, slowest write {slowest[-1]:.0f} ms")
        one, both, sqlite = (rig.median(rates[name]) for name in ("write-1", "write-2", "sqlite"))
        return [
            rig.row("write-1", "writes/s", one, sqlite, "SQLite"),
            rig.row("write-2", "writes/s", both, one, "one process"),
            rig.row("write-2-share", "% of the lesser of two", 100 * rig.median(shares)),
            rig.row("write-2-slowest", "ms", rig.median(slowest)),
        ]
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
