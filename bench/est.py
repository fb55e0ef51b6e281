"""Durable enrolments: with a connection each, and on kept connections."""

import subprocess

import handshake
import rig

LINES = {"new-connection": 1600, "kept": 6000}  # requests in one round; each is a device of its own


def make_requests(hub, n, path):
    """n certification requests, a line each, whose keys the manifest then names."""
    made = subprocess.run([rig.program("bench/csr_maker"), str(n), path], check=True,
                          capture_output=True, text=True).stdout.split()
    base = make_requests.made
    make_requests.made += n
    hub.add_devices([{"serial": f"est-{base + i}", "key_sha256": key} for i, key in enumerate(made)])


make_requests.made = 0


def enrol(hub, mode, n, concurrency, lines):
    return rig.per_cpu_second(hub, lambda: rig.load(
        hub.ports["bootstrap"], hub.roots, None, None, mode, n, concurrency, 60, "method=POST",
        "path=/.well-known/est/simpleenroll", "type=application/pkcs10", f"lines={lines}"))


def run():
    hub = rig.Hub()
    try:
        hub.factory()
        identity = hub.enrol("load")
        fresh, kept, bare = [], [], []
        for turn in range(rig.ROUNDS):
            rig.say(f"round {turn + 1} of {rig.ROUNDS}")
            lines = hub.path("requests")
            make_requests(hub, LINES["new-connection"], lines)
            fresh.append(enrol(hub, "connect", LINES["new-connection"], 16, lines)["per_cpu_second"])
            bare.append(handshake.full(hub, hub.ports["device"], hub.roots, identity, handshake.PATH))
            make_requests(hub, LINES["kept"], lines)
            kept.append(enrol(hub, "kept", LINES["kept"], 32, lines)["per_cpu_second"])
        return [
            rig.row("new-connection", "enrolments per second of hub CPU", rig.median(fresh),
                    rig.median(bare), "bare mutual-TLS handshake of the hub"),
            rig.row("kept", "enrolments per second of hub CPU", rig.median(kept)),
        ]
    finally:
        hub.stop()
