"""Devices are cut off while they are connected to a real Mosquitto with the plugin, and messages flow: from the
command to the end of the session, as the device's side sees it."""

import base64
import hashlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
import threading
import time

import broker
import fleet
import hubs
import rig
import write

SESSIONS = int(os.environ.get("HOLDFAST_BENCH_SESSIONS", "10000"))
CUTS = 200
FIRST = 1000     # the first that is cut; those that exchange messages are others
TALKING = 20
PAUSE = 0.05     # seconds between two cuts
BROKER = "mqtt-bench"
HOST = "mqtt.bench.example"


class Fleet(broker.Bench):
    """A hub, a Mosquitto beside it with its plugin, and all devices connected."""

    def __init__(self, store=None, more=None):
        self.folder = tempfile.mkdtemp(prefix="holdfast-bench-cut-")
        self.process = self.idle = self.talk = None
        self.ended = {}
        self.hub = rig.Hub({**({"store": store} if store else {}), **(more or {})})
        try:
            self.make(store)
        except BaseException:
            self.end()
            raise

    def make(self, store):
        self.hub.factory()
        self.make_devices()
        fleet.make_fleet(self.hub, SESSIONS, store, (self.path("digests"),))
        self.hub.start()
        self.add_broker()
        self.start("plugin")
        self.connect()

    def make_devices(self):
        """Certificates over one key, for a broker that looks at their digests."""
        rig.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    self.path("devices.key"), "-out", self.path("devices-root.pem"), "-subj", "/CN=bench", "-days", "2",
                    "-addext", "basicConstraints=critical,CA:TRUE")
        subprocess.run([rig.program("bench/mqtt_load"), "make", str(SESSIONS), self.path("devices-root.pem"),
                        self.path("devices.key"), self.path("devices.pem")], check=True)
        with open(self.path("devices.pem"), encoding="ascii") as file:
            blocks = file.read().split("-----BEGIN CERTIFICATE-----")[1:]
        with open(self.path("digests"), "w", encoding="ascii") as file:
            for block in blocks:
                file.write(hashlib.sha256(base64.b64decode(block.split("-----END")[0])).hexdigest() + "\n")

    def add_broker(self):
        made = self.hub.api("POST", "/v1/brokers", {"name": BROKER, "hosts": [{"host": HOST}],
                                                    "expires_at": "2099-01-01T00:00:00Z"})
        request = rig.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                              self.path("broker.key"), "-subj", f"/CN={BROKER}", "-outform", "DER")
        answer = subprocess.run(
            ["curl", "-sS", "--fail", "--cacert", self.hub.roots, "-u", f"{BROKER}:{made['claim_code']}", "-H",
             "Content-Type: application/pkcs10", "--data-binary", "@-",
             f"https://localhost:{self.hub.ports['bootstrap']}/.well-known/est/simpleenroll"],
            input=base64.encodebytes(request), check=True, capture_output=True).stdout
        certificate = rig.openssl("pkcs7", "-inform", "DER", "-print_certs", text=base64.b64decode(answer))
        with open(self.hub.path("state/signer/issuing.pem"), "rb") as file:
            issuing = file.read()
        with open(self.path("broker.pem"), "wb") as file:
            file.write(certificate + issuing)
        with open(self.hub.roots, "rb") as roots, open(self.path("devices-root.pem"), "rb") as more, \
                open(self.path("root.pem"), "wb") as file:
            file.write(roots.read() + issuing + more.read())

    def write_settings(self):
        rules, key = self.sign_rules()
        with open(os.path.join(self.state, "rules"), "wb") as file:
            file.write(rules)
        with open(self.path("broker.conf"), "w", encoding="ascii") as file:
            file.write(f"hubs = 127.0.0.1:{self.hub.ports['device']}\ncertificate = broker.pem\nkey = broker.key\n"
                       f"roots = root.pem\npolicy-key = {key}\nstate = {self.state}\n"
                       f"control-port = {self.port}\ncontrol-name = {HOST}\n")

    def client(self, mode, n):
        return subprocess.Popen(
            ["taskset", "-c", rig.CLIENT_CPU, rig.program("bench/mqtt_load"), mode, "127.0.0.1", str(self.port),
             self.path("root.pem"), self.path("devices.pem"), str(n), "0", "3600"],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)

    def connect(self):
        rig.say(f"connecting {SESSIONS} devices")
        self.idle = self.client("idle", SESSIONS)
        opened = json.loads(self.idle.stdout.readline())
        if opened["open"] != SESSIONS:
            raise RuntimeError(f"connected: {opened}")
        threading.Thread(target=self.watch, daemon=True).start()
        self.talk = self.client("messages", TALKING)
        self.talk.stdout.readline()
        self.talk.stdin.write("go\n")
        self.talk.stdin.flush()

    def watch(self):
        for line in self.idle.stdout:
            one = json.loads(line)
            if "ended" in one:
                self.ended[one["ended"]] = (one["at_us"], one["reason"])

    def cut(self, first):
        """Milliseconds from the request for each of CUTS devices, one after the other."""
        connection = self.hub.connection()
        times = []
        for number in range(first, first + CUTS):
            began = time.clock_gettime(time.CLOCK_MONOTONIC)
            self.hub.api("POST", f"/v1/devices/d-{number}/revoke", {"reason": "a benchmark"}, connection)
            at_us, reason = rig.wait_for(f"the session of d-{number} to end", lambda n=number: self.ended.get(n))
            if reason != 152:
                raise RuntimeError(f"d-{number} ended with {reason}")
            times.append(at_us / 1000 - began * 1000)
            time.sleep(PAUSE)
        self.check(first)
        return times

    def check(self, first):
        def confirmed():
            cuts = (self.hub.api("GET", f"/v1/devices/d-{number}/cut") for number in range(first, first + CUTS))
            return all(one["status"] == "complete" for one in cuts)
        rig.wait_for("each leg to confirm", confirmed, 60)
        if self.talk.poll() is not None or self.idle.poll() is not None:
            raise RuntimeError("a client has ended")

    def end(self):
        for client in (self.talk, self.idle):
            if client is not None:
                client.kill()
                client.wait()
        self.stop()
        self.hub.stop()
        shutil.rmtree(self.folder)


def measure(store=None, importing=False):
    one = Fleet(store)
    try:
        times = one.cut(FIRST)
        rig.say(f"p50 {rig.median(times):.1f} ms, p99 {rig.percentile(times, 0.99):.1f} ms")
        if not importing:
            return times, []
        taking_in = write.Import(one.hub)
        taking_in.start()
        rig.wait_for("rows to be taken in", lambda: taking_in.rows)
        meanwhile = one.cut(FIRST + CUTS)
        rig.say(f"{taking_in.rows} rows of a manifest meanwhile: p99 {rig.percentile(meanwhile, 0.99):.1f} ms")
        if not taking_in.is_alive():
            raise RuntimeError(f"all {write.IMPORT_ROWS} rows were in before the last cut")
        taking_in.rows = write.IMPORT_ROWS  # that will do
        taking_in.join()
        return times, meanwhile
    finally:
        one.end()


def run():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor for each session
    times, meanwhile = measure(importing=True)
    postgres = hubs.Postgres()
    try:
        over_postgres, _ = measure(postgres.database("cut"))
    finally:
        postgres.stop()
    unit = "ms, from the command to the session's end"
    return [
        rig.row("p50", unit, rig.median(times)),
        rig.row("p99", unit, rig.percentile(times, 0.99)),
        rig.row("p99-under-import", unit, rig.percentile(meanwhile, 0.99)),
        rig.row("p50-postgresql", unit, rig.median(over_postgres)),
        rig.row("p99-postgresql", unit, rig.percentile(over_postgres, 0.99)),
    ]
