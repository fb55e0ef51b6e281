"""OCSP: the hub's answers against those of `openssl ocsp`, and against nginx serving a file of that size."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

import est
import rig

DEVICES = 1000
SERIAL_BYTES = 16  # of the certificates we issue; the first is below 0x80


def load(port, mode, prefix, paths, server):
    """Responses per second, and per second of the server's processor time."""
    def work():
        words = ["taskset", "-c", rig.CLIENT_CPU, rig.program("bench/plain_load"), str(port), mode, "16",
                 str(rig.SECONDS), prefix, paths]
        result = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        if result["errors"] or result["refused"]:
            rig.say(f"note: {result['errors']} errors, {result['refused']} refused in {mode} {prefix}")
        return result
    began = time.monotonic()
    result = rig.per_cpu_second(server, work)
    return result["done"] / (time.monotonic() - began), result["per_cpu_second"]


def enrolled_serials(hub):
    """Of DEVICES devices with certificates."""
    lines = hub.path("requests")
    est.make_requests(hub, DEVICES, lines)
    est.enrol(hub, "kept", DEVICES, 16, lines)
    connection, serials = hub.connection(), []
    for i in range(DEVICES):
        answer = hub.api("GET", f"/v1/devices/est-{i}/certificates", connection=connection)
        serials.append(answer["certificates"][0]["serial"])
    return serials


def write_requests(hub, serials, path):
    """An OCSP request for each, as the path of a GET; gives one of them as a file, too."""
    issuing, one = hub.path("state/signer/issuing.pem"), hub.path("one.ocsp")
    rig.openssl("ocsp", "-issuer", issuing, "-serial", "0x" + serials[0], "-no_nonce", "-reqout", one)
    with open(one, "rb") as file:
        request = file.read()
    head = request[:-SERIAL_BYTES]
    assert request[len(head):].hex() == serials[0]
    with open(path, "w", encoding="ascii") as file:
        for serial in serials:
            text = base64.b64encode(head + bytes.fromhex(serial)).decode()
            file.write(text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D") + "\n")


class Responder:
    """`openssl ocsp` with the same certificates, under a responder's key of the same kind."""

    def __init__(self, hub, serials):
        self.folder = tempfile.mkdtemp(prefix="holdfast-bench-ocsp-")
        signer = hub.path("state/signer")
        key, certificate, index = self.path("key"), self.path("certificate"), self.path("index.txt")
        rig.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        request = rig.openssl("req", "-new", "-key", key, "-subj", "/CN=responder")
        with open(self.path("ext"), "w", encoding="ascii") as file:
            file.write("extendedKeyUsage=OCSPSigning\nnoCheck=yes\n")
        with open(certificate, "wb") as file:
            file.write(rig.openssl("x509", "-req", "-CA", f"{signer}/issuing.pem", "-CAkey",
                                   f"{signer}/issuing.key", "-days", "9", "-extfile", self.path("ext"),
                                   "-set_serial", "0x" + os.urandom(16).hex(), text=request))
        with open(index, "w", encoding="ascii") as file:
            file.writelines(f"V\t291231235959Z\t\t{serial.upper()}\tunknown\t/CN={serial}\n" for serial in serials)
        with open(index + ".attr", "w", encoding="ascii") as file:
            file.write("unique_subject = no\n")
        self.port = rig.free_port()
        said = open(self.path("said"), "wb")
        self.process = subprocess.Popen(
            ["taskset", "-c", rig.SERVER_CPU, "openssl", "ocsp", "-index", index, "-CA", f"{signer}/issuing.pem",
             "-rsigner", certificate, "-rkey", key, "-port", str(self.port), "-ndays", "1"],
            stdout=said, stderr=subprocess.DEVNULL)
        said.close()
        # Not by connecting: one that sends nothing and leaves makes it spin for ever.
        rig.wait_for("openssl to listen", lambda: os.path.getsize(self.path("said")) > 0)

    def path(self, name):
        return os.path.join(self.folder, name)

    def cpu(self):
        return rig.cpu_seconds(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.folder)


def row(what, unit, ours, theirs, which, name):
    """Medians of one of the two figures of load()."""
    return rig.row(what, unit, rig.median([one[which] for one in ours]),
                   rig.median([one[which] for one in theirs]), name)


def run():
    hub = rig.Hub({"listen-status": "127.0.0.1:0", "status-per-minute": 1000000,
                   "loops": 2})  # as many as a machine of one processor has
    peers = []
    try:
        hub.factory()
        serials = enrolled_serials(hub)
        paths = hub.path("paths")
        write_requests(hub, serials, paths)
        with open(paths, encoding="ascii") as file:
            first = file.readline().strip()
        responder = Responder(hub, serials)
        peers.append(responder)
        nginx = rig.Nginx(hub, "")
        peers.append(nginx)
        with open(nginx.path("response.der"), "wb") as file:
            file.write(subprocess.run(["curl", "-sS", "--fail", f"http://127.0.0.1:{hub.ports['status']}/ocsp/{first}"],
                                      check=True, capture_output=True).stdout)
        with open(hub.path("one"), "w", encoding="ascii") as file:
            file.write("response.der\n")
        kept, fresh, theirs, files = [], [], [], []
        for turn in range(rig.ROUNDS):
            rig.say(f"round {turn + 1} of {rig.ROUNDS}: {rig.SECONDS} s each")
            kept.append(load(hub.ports["status"], "kept", "/ocsp/", paths, hub))
            fresh.append(load(hub.ports["status"], "connect", "/ocsp/", paths, hub))
            theirs.append(load(responder.port, "connect", "/", paths, responder))
            files.append(load(nginx.plain_port, "kept", "/", hub.path("one"), nginx))
        rate, cpu = "responses per second on one processor", "responses per second of server CPU"
        name = "openssl ocsp, a connection each, as it can do no other"
        return [
            row("vs-openssl", rate, kept, theirs, 0, name),
            row("vs-openssl-cpu", cpu, kept, theirs, 1, name),
            row("new-connection", rate, fresh, theirs, 0, name),
            row("new-connection-cpu", cpu, fresh, theirs, 1, name),
            row("vs-nginx", cpu, kept, files, 1, "nginx, a file of that size"),
        ]
    finally:
        for peer in peers:
            peer.stop()
        hub.stop()
