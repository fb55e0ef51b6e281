"""What the benchmarks stand on: a hub and its peers on loopback, pinned to one processor, with the load
on the other, and figures as the operating system counts them."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("HOLDFAST_BUILD", os.path.join(ROOT, "build", "release"))
SERVER_CPU, CLIENT_CPU = "0", "1"
FLEET = "bench.example"
TICKS = os.sysconf("SC_CLK_TCK")
ROUNDS = int(os.environ.get("HOLDFAST_BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("HOLDFAST_BENCH_SECONDS", "4"))
CHUNK = 250  # rows of a manifest that the hub takes at once


def program(name):
    path = os.path.join(BUILD, name)
    if not os.path.exists(path):
        sys.exit(f"{path} is not there: run `make build` first")
    return path


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def row(what, unit, ours, peer=None, peer_name=None, higher_is_better=True):
    ratio = None
    if peer:
        ratio = round(ours / peer if higher_is_better else peer / ours, 3)
    return {"what": what, "unit": unit, "ours": round(ours, 2),
            "peer": round(peer, 2) if peer else None, "peer_name": peer_name, "ratio": ratio}


def descendants(pid):
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                for child in file.read().split():
                    found += descendants(int(child))
        except FileNotFoundError:
            pass
    return found


def cpu_seconds(pid):
    """User and system time of a process and its children that live."""
    ticks = 0
    for one in descendants(pid):
        with open(f"/proc/{one}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def memory_kib(pid, *names):
    """Sum of fields of smaps_rollup."""
    total = 0
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.split(":")[0] in names:
                total += int(line.split()[1])
    return total


def openssl(*words, text=None):
    return subprocess.run(["openssl", *words], input=text, check=True, capture_output=True).stdout


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Hub:
    """A hub with its state in a folder of its own, limits out of the way."""

    def __init__(self, more=None, pinned=True):
        self.folder = tempfile.mkdtemp(prefix="holdfast-bench-")
        os.mkdir(self.path("state"))
        self.make_keys()
        settings = {
            "fleet": FLEET, "state": "state", "socket": "hub.sock", "ports-file": "ports",
            "listen-device": "127.0.0.1:0", "listen-bootstrap": "127.0.0.1:0",
            "listen-operator": "127.0.0.1:0", "connections-per-address": 20000,
            "enrolment-per-minute": 1000000, "device-reads-per-minute": 1000000,
            "device-writes-per-minute": 1000000, "public-per-minute": 1000000,
            "idle-timeout": "1h", "log-level": "warning", "checkin-interval": "15m", **(more or {}),
        }
        with open(self.path("hub.conf"), "w", encoding="utf-8") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())
        self.words = [program("hub/holdfast-hub"), "--config", self.path("hub.conf")]
        if pinned:
            self.words = ["taskset", "-c", SERVER_CPU, *self.words]
        self.log = open(self.path("log"), "wb")
        self.roots = self.path("state/root.pem")
        self.start()

    def make_keys(self):
        self.cli("--state", self.path("state"), "ca", "init", "--fleet", FLEET)

    def cli(self, *words):
        subprocess.run([program("cli/holdfast"), "--socket", self.path("hub.sock"), *words], check=True,
                       capture_output=True)

    def start(self):
        """Seconds until it listens on all its ports."""
        began = time.monotonic()
        self.process = subprocess.Popen(self.words, stderr=self.log)
        self.ports = wait_for("the hub to listen", self._read_ports)
        return time.monotonic() - began

    def path(self, name):
        return os.path.join(self.folder, name)

    def _read_ports(self):
        if self.process.poll() is not None:
            sys.exit(open(self.path("log"), encoding="utf-8").read())
        if not os.path.exists(self.path("ports")):
            return None
        with open(self.path("ports"), encoding="ascii") as file:
            return dict(line.strip().split("=") for line in file)

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def connection(self):
        return UnixConnection(self.path("hub.sock"))

    def answer(self, method, path, body=None, connection=None):
        c = connection or self.connection()
        c.request(method, path, json.dumps(body) if body is not None else None,
                  {"Content-Type": "application/json"} if body is not None else {})
        answer = c.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]}")
        return data

    def api(self, method, path, body=None, connection=None):
        data = self.answer(method, path, body, connection)
        return json.loads(data) if data else None

    def metrics(self):
        """By name with labels, as they are written."""
        lines = self.answer("GET", "/metrics").decode().splitlines()
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def factory(self):
        self.api("POST", "/v1/models", {"id": "thermo", "maker": "acme", "proof": "manifest",
                                        "key_kinds": ["P-256"], "lifetime_seconds": 86400,
                                        "enrolled_lifetime_seconds": 600})
        self.api("POST", "/v1/manifests", {"id": "batch", "model": "thermo", "owner": "acme"})

    def add_devices(self, rows):
        connection = self.connection()
        for at in range(0, len(rows), CHUNK):
            self.api("POST", "/v1/manifests/batch/devices", {"rows": rows[at:at + CHUNK]}, connection)

    def enrol(self, serial):
        """One device with key and certificate in files, by openssl and the library's HTTPS client."""
        key, request = self.path(f"{serial}.key"), self.path(f"{serial}.csr")
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", f"/CN={serial}", "-outform", "DER", "-out", request)
        spki = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")
        fingerprint = openssl("dgst", "-sha256", "-r", text=spki).split()[0].decode()
        self.add_devices([{"serial": serial, "key_sha256": fingerprint}])
        with open(request, "rb") as file:
            body = openssl("base64", text=file.read())
        answer = subprocess.run(
            ["curl", "-sS", "--fail", "--cacert", self.roots, "-H", "Content-Type: application/pkcs10",
             "--data-binary", "@-", f"https://localhost:{self.ports['bootstrap']}/.well-known/est/simpleenroll"],
            input=body, check=True, capture_output=True).stdout
        certificate = self.path(f"{serial}.crt")
        with open(certificate, "wb") as file:
            file.write(openssl("pkcs7", "-inform", "DER", "-print_certs",
                               text=openssl("base64", "-d", text=answer)))
        return certificate, key

    def end(self):
        self.process.terminate()
        self.process.wait(60)
        os.unlink(self.path("ports"))

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.folder)


class Nginx:
    """nginx with the same certificates: the fleet's CA issues the server's, the devices' are checked."""

    def __init__(self, hub, lines):
        self.folder = tempfile.mkdtemp(prefix="holdfast-bench-nginx-")
        state = hub.path("state")
        key, chain = self.path("server.key"), self.path("server.pem")
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        request = openssl("req", "-new", "-key", key, "-subj", "/CN=localhost")
        with open(self.path("ext"), "w", encoding="ascii") as file:
            file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
                       "keyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:false\n")
        leaf = openssl("x509", "-req", "-CA", f"{state}/signer/issuing.pem", "-CAkey",
                       f"{state}/signer/issuing.key", "-days", "9", "-extfile", self.path("ext"),
                       "-set_serial", "0x" + os.urandom(16).hex(), text=request)
        with open(f"{state}/signer/issuing.pem", "rb") as file:
            issuing = file.read()
        with open(chain, "wb") as file:
            file.write(leaf + issuing)
        with open(self.path("clients.pem"), "wb") as file, open(hub.roots, "rb") as root:
            file.write(root.read() + issuing)
        with open(self.path("index.html"), "w", encoding="ascii") as file:
            file.write("x" * 60)
        os.chmod(self.folder, 0o755)
        self.port, self.plain_port = free_port(), free_port()
        with open(self.path("nginx.conf"), "w", encoding="ascii") as file:
            file.write(f"""
daemon off; worker_processes 1; pid {self.path('pid')}; error_log {self.path('error.log')} warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log off; sendfile on; tcp_nopush on; types_hash_max_size 2048; keepalive_timeout 3600;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{self.port} ssl backlog=4096; root {self.folder};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;
    ssl_certificate {chain}; ssl_certificate_key {key};
    ssl_client_certificate {self.path('clients.pem')}; ssl_verify_client on; ssl_verify_depth 3;
    {lines}
  }}
  server {{ listen 127.0.0.1:{self.plain_port} backlog=4096; root {self.folder}; }}
}}
""")
        self.process = subprocess.Popen(["taskset", "-c", SERVER_CPU, "/usr/sbin/nginx", "-c",
                                         self.path("nginx.conf"), "-e", self.path("start.log")],
                                        stderr=subprocess.DEVNULL)
        wait_for("nginx to listen", lambda: can_connect(self.port))

    def path(self, name):
        return os.path.join(self.folder, name)

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.folder)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def can_connect(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def wait_for(what, check, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    sys.exit(f"waited in vain for {what}")


def load(port, roots, certificate, key, mode, n, concurrency, seconds, *words, background=False):
    """One run of bench/tls_load; its line of JSON as a dictionary."""
    command = ["taskset", "-c", CLIENT_CPU, program("bench/tls_load"), "localhost", str(port), roots,
               certificate or "-", key or "-", mode, str(n), str(concurrency), str(seconds), *words]
    if background:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(out)
    if result["errors"] or result["refused"]:
        say(f"note: {result['errors']} errors, {result['refused']} refused in {mode}")
    return result


def per_cpu_second(server, work):
    """What `work` got done (a dictionary with "done") for each second of the server's processor time."""
    before = server.cpu()
    result = work()
    spent = server.cpu() - before
    result["per_cpu_second"] = result["done"] / spent if spent else 0
    return result
