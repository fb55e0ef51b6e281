"""Through Mosquitto with the plugin, against Mosquitto with TLS alone and with its dynamic-security plugin:
messages there and back, and connects, for each second of the broker's processor time, in one run."""

import base64
import hashlib
import http.server
import json
import os
import shutil
import ssl
import struct
import subprocess
import tempfile
import threading
import time

import rig

DEVICES = 1000   # that the broker knows and that connect in turn
TALKING = 100    # connections that exchange messages
DYNSEC = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so"
KEY_NAME = f"{rig.FLEET}/policy"
POLICY = f"""holdfast: 1
fleet: {rig.FLEET}
models:
  thermo:
    identity: {{maker: acme}}
    limits: {{messages: 1000000/min, bytes: 1000MiB/min, connects: 60000/min}}
    publish: ["fleet/{{device}}/up/#", "alarm/{{device}}"]
    subscribe: ["fleet/{{device}}/up/#", "fleet/{{device}}/down/#", "all/#"]
"""


class PlayedHub(http.server.BaseHTTPRequestHandler):
    """A hub's half of the wire that never has news."""
    protocol_version = "HTTP/1.1"

    def reply(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the broker was ended while it waited for news
            self.close_connection = True

    def do_GET(self):
        head = struct.pack(">8sQQI", b"HFFEED01", 1, 1, 0)
        if self.path.startswith("/v1/broker/table"):
            first = "after=" not in self.path
            records = self.server.records if first else []
            self.reply(200, head[:-4] + struct.pack(">I", len(records)) + b"".join(records))
        elif self.path.startswith("/v1/broker/rules"):
            self.reply(200 if "version=0" in self.path else 204, self.server.rules if "version=0" in self.path else b"")
        else:
            if "wait=0" not in self.path:
                time.sleep(10)
            self.reply(200, head)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(204)

    def log_message(self, *_):
        pass


def record(name, digest, not_after):
    def text8(text):
        return bytes([len(text)]) + text.encode()
    body = (bytes([2, 0]) + text8("default") + text8(name) + text8("thermo") + text8("") + bytes([1]) + digest +
            struct.pack(">q", not_after))
    return struct.pack(">H", len(body)) + body


class Bench:
    """Certificates, rules, a hub that is played, and one broker at a time."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="holdfast-bench-broker-")
        self.process = None
        rig.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    self.path("root.key"), "-out", self.path("root.pem"), "-subj", "/CN=bench", "-days", "2",
                    "-addext", "basicConstraints=critical,CA:TRUE")
        self.issue("broker")
        subprocess.run([rig.program("bench/mqtt_load"), "make", str(DEVICES), self.path("root.pem"),
                        self.path("root.key"), self.path("devices.pem")], check=True)
        self.play_hub()

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name):
        request = rig.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                              "-keyout", self.path(f"{name}.key"), "-subj", f"/CN={name}")
        with open(self.path("ext"), "w", encoding="ascii") as file:
            file.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        with open(self.path(f"{name}.pem"), "wb") as file:
            file.write(rig.openssl("x509", "-req", "-CA", self.path("root.pem"), "-CAkey", self.path("root.key"),
                                   "-days", "2", "-extfile", self.path("ext"), text=request))

    def sign_rules(self):
        """The rules that POLICY stands for, signed by a key of this run's own; and that key as text."""
        body = subprocess.run([rig.program("bench/bench_rules_maker")], input=POLICY.encode(), check=True,
                              capture_output=True).stdout
        rig.openssl("genpkey", "-algorithm", "Ed25519", "-out", self.path("policy.key"))
        public = b"\x01" + rig.openssl("pkey", "-in", self.path("policy.key"), "-pubout", "-outform", "DER")[-32:]
        key_id = hashlib.sha256(KEY_NAME.encode() + b"\n" + public).digest()[:4]
        text = (f"holdfast-rules/v1\nfleet {rig.FLEET}\nversion 1\nmade 2026-11-28T19:00:00Z\n"
                f"body {len(body)} {hashlib.sha256(body).hexdigest()}\n").encode()
        with open(self.path("text"), "wb") as file:
            file.write(text)
        signature = rig.openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path("policy.key"), "-in", self.path("text"))
        line = "\n\u2014 " + KEY_NAME + " " + base64.b64encode(key_id + signature).decode() + "\n"
        note = text + line.encode()
        rules = b"HFRULES1" + struct.pack(">I", len(note)) + note + body
        return rules, f"{KEY_NAME}+{key_id.hex()}+{base64.b64encode(public).decode()}"

    def play_hub(self):
        with open(self.path("devices.pem"), encoding="ascii") as file:
            blocks = file.read().split("-----BEGIN CERTIFICATE-----")[1:]
        digests = [hashlib.sha256(base64.b64decode(block.split("-----END")[0])).digest() for block in blocks]
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PlayedHub)
        server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path("broker.pem"), self.path("broker.key"))
        context.load_verify_locations(self.path("root.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.records = [record(f"d-{i}", digest, int(time.time()) + 80000) for i, digest in enumerate(digests)]
        server.rules, key = self.sign_rules()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.hub = server
        self.policy_key = key

    def start(self, kind):
        """Mosquitto on one processor: "plain", "dynsec" or "plugin"."""
        self.port = rig.free_port()
        self.state = tempfile.mkdtemp(prefix="state-", dir=self.folder)
        os.chmod(self.folder, 0o755)
        lines = {
            "plain": "use_identity_as_username true\n",
            "dynsec": f"use_identity_as_username true\nplugin {DYNSEC}\nplugin_opt_config_file {self.path('dynsec.json')}\n",
            "plugin": f"use_identity_as_username false\nplugin {rig.program('broker/holdfast_mosquitto.so')}\n"
                      f"plugin_opt_config {self.path('broker.conf')}\n",
        }[kind]
        if kind == "dynsec":
            self.write_dynsec()
        if kind == "plugin":
            self.write_settings()
        with open(self.path("mosquitto.conf"), "w", encoding="ascii") as file:
            file.write(f"user root\nper_listener_settings false\nallow_anonymous false\nset_tcp_nodelay true\n"
                       f"log_type error\nlog_type warning\nlog_type notice\nconnection_messages false\n"
                       f"listener {self.port} 127.0.0.1\ncafile {self.path('root.pem')}\n"
                       f"certfile {self.path('broker.pem')}\nkeyfile {self.path('broker.key')}\n"
                       f"require_certificate true\n{lines}")
        with open(self.path("log"), "wb") as log:
            self.process = subprocess.Popen(["taskset", "-c", rig.SERVER_CPU, "/usr/sbin/mosquitto", "-c",
                                             self.path("mosquitto.conf")], stderr=log, stdout=log)
        rig.wait_for("Mosquitto to listen", lambda: rig.can_connect(self.port))
        if kind == "plugin":
            rig.wait_for("the plugin to know the fleet", lambda: b"up to date" in open(self.path("log"), "rb").read())

    def write_settings(self):
        with open(self.path("broker.conf"), "w", encoding="ascii") as file:
            file.write(f"hubs = 127.0.0.1:{self.hub.server_port}\ncertificate = broker.pem\nkey = broker.key\n"
                       f"roots = root.pem\npolicy-key = {self.policy_key}\nstate = {self.state}\n"
                       f"control-port = {self.port}\ncontrol-name = 127.0.0.1\n")

    def write_dynsec(self):
        may = [{"acltype": kind, "topic": topic, "priority": 0, "allow": True}
               for kind in ("publishClientSend", "publishClientReceive", "subscribePattern", "unsubscribePattern")
               for topic in ("fleet/#", "alarm/#", "all/#")]
        config = {
            "defaultACLAccess": {"publishClientSend": False, "publishClientReceive": False, "subscribe": False,
                                 "unsubscribe": False},
            "clients": [{"username": f"d-{i}", "roles": [{"rolename": "device"}]} for i in range(DEVICES)],
            "groups": [], "roles": [{"rolename": "device", "acls": may}]}
        with open(self.path("dynsec.json"), "w", encoding="ascii") as file:
            json.dump(config, file)

    def cpu(self):
        return rig.cpu_seconds(self.process.pid)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def end(self):
        self.stop()
        self.hub.shutdown()
        shutil.rmtree(self.folder)

    def load(self, mode, n, concurrency, background=False):
        command = ["taskset", "-c", rig.CLIENT_CPU, rig.program("bench/mqtt_load"), mode, "127.0.0.1", str(self.port),
                   self.path("root.pem"), self.path("devices.pem"), str(n), str(concurrency), str(rig.SECONDS)]
        if background:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def messages(self):
        """Connections are opened before the clock starts."""
        client = self.load("messages", TALKING, 0, background=True)
        client.stdout.readline()
        before = self.cpu()
        out, _ = client.communicate("go\n", timeout=120)
        return json.loads(out)["done"] / (self.cpu() - before)

    def connects(self):
        before = self.cpu()
        done = self.load("connect", DEVICES, 16)["done"]
        return done / (self.cpu() - before)


def run():
    bench = Bench()
    found = {(kind, what): [] for kind in ("plain", "dynsec", "plugin") for what in ("messages", "connects")}
    try:
        for n in range(rig.ROUNDS):
            rig.say(f"round {n + 1} of {rig.ROUNDS}: three brokers, {rig.SECONDS} s of messages and of connects each")
            for kind in ("plain", "dynsec", "plugin"):
                bench.start(kind)
                found[kind, "messages"].append(bench.messages())
                found[kind, "connects"].append(bench.connects())
                bench.stop()
    finally:
        bench.end()
    rows = []
    for what, unit in (("messages", "messages per second of broker CPU"), ("connects", "connects per second of broker CPU")):
        ours = rig.median(found["plugin", what])
        rows.append(rig.row(what, unit, ours, rig.median(found["plain", what]), "Mosquitto with TLS alone"))
        rows.append(rig.row(f"{what}-dynsec", unit, ours, rig.median(found["dynsec", what]),
                            "Mosquitto's dynamic-security plugin"))
    return rows
