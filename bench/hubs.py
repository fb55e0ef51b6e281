"""Several processes over one database. Durable, ledgered writes through the hub's store: over SQLite, over
PostgreSQL by one process, and by two, each with clients of its own. Then two hubs: how soon a device that was
revoked on one is cut off on the other."""

import glob
import json
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import rig

WIDTH = 256  # writes in flight, of each process
USER = "postgres"
DEVICES = 100  # revoked, one after the other, each with a connection open
SELF = b"GET /v1/device/self HTTP/1.1\r\nHost: localhost\r\n\r\n"


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


class JoinedHub(rig.Hub):
    """A further hub of another's fleet, with keys of its own."""

    def __init__(self, first, more):
        self.first = first
        super().__init__(more, pinned=False)

    def make_keys(self):
        state, theirs = self.path("state"), self.first.path("state")
        request, card = self.path("request"), self.path("card")
        self.cli("--state", state, "hub", "join", "hub-2", "--fleet", rig.FLEET, "-o", request)
        self.cli("--state", theirs, "ca", "certify", request, "-o", card)
        self.cli("--state", state, "hub", "install", card)
        shutil.copy(os.path.join(theirs, "subjects.keys"), state)
        self.first.cli("ca", "bundle", "--install", "--from", os.path.join(theirs, "bundle"))
        self.first.cli("hub", "admit", card)


def use(wire):
    wire.sendall(SELF)
    if not wire.recv(65536).startswith(b"HTTP/1.1 200 "):
        raise RuntimeError("a device that has enrolled is refused")


def connect(hub, certificate, key):
    context = ssl.create_default_context(cafile=hub.roots)
    context.load_cert_chain(certificate, key)
    wire = context.wrap_socket(socket.create_connection(("localhost", hub.ports["device"]), timeout=30),
                               server_hostname="localhost")
    use(wire)
    return wire


class Watch(threading.Thread):
    """Notes when the other side ends a connection."""

    def __init__(self, wire):
        super().__init__()
        self.wire, self.ended = wire, None
        self.start()

    def run(self):
        try:
            while self.wire.recv(65536):
                pass
        except TimeoutError:
            return
        except OSError:
            pass  # cut off without farewell is as good
        self.ended = time.monotonic()


def cut_off(here, wires):
    """Milliseconds until each connection there was closed, by when its device was asked to be revoked here, and by
    when that was answered."""
    operator, asked, answered = here.connection(), [], []
    for serial, wire in wires.items():
        use(wire)
        watch = Watch(wire)
        began = time.monotonic()
        here.api("POST", f"/v1/devices/{serial}/revoke", {"reason": "a benchmark"}, operator)
        told = time.monotonic()
        watch.join()
        if watch.ended is None:
            raise RuntimeError(f"{serial}, revoked on a hub, is still connected to the other")
        asked.append(1000 * (watch.ended - began))
        answered.append(max(0.0, 1000 * (watch.ended - told)))
    return asked, answered


def revoked_elsewhere(url):
    more = {"store": url}
    here = rig.Hub(more, pinned=False)
    there = None
    try:
        here.factory()
        there = JoinedHub(here, more)
        rig.say(f"enrolling {DEVICES} devices")
        wires = {}
        for number in range(DEVICES):
            serial = f"cut-{number}"
            wires[serial] = connect(there, *here.enrol(serial))
        asked, answered = cut_off(here, wires)
        return [
            rig.row("revoked-elsewhere", "ms, p99 from the request", rig.percentile(asked, 0.99)),
            rig.row("revoked-elsewhere-p50", "ms, from the request", rig.median(asked)),
            rig.row("revoked-elsewhere-answer", "ms, p99 from the answer", rig.percentile(answered, 0.99)),
        ]
    finally:
        if there:
            there.stop()
        here.stop()


def writes(postgres):
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
        shutil.rmtree(folder, ignore_errors=True)


def run():
    postgres = Postgres()
    try:
        return [*writes(postgres), *revoked_elsewhere(postgres.database("fleet"))]
    finally:
        postgres.stop()
