"""Connections with mutual TLS: full handshakes against nginx, and what an idle one costs in memory."""

import json

import rig

PATH = "path=/.well-known/est/csrattrs"  # the hub's smallest answer; nginx serves a file of that size
IDLE = 10000


def full(server, port, roots, identity, path):
    return rig.per_cpu_second(server, lambda: rig.load(port, roots, *identity, "connect", 0, 16,
                                                       rig.SECONDS, path))["per_cpu_second"]


def rounds(hub, identity, nginx):
    ours, theirs = [], []
    for _ in range(rig.ROUNDS):
        ours.append(full(hub, hub.ports["device"], hub.roots, identity, PATH))
        theirs.append(full(nginx, nginx.port, hub.roots, identity, "path=/index.html"))
    return rig.median(ours), rig.median(theirs)


def idle_kib(pids, port, roots, identity, path):
    """Resident memory of the server for each of IDLE connections that have had one request."""
    before = sum(rig.memory_kib(pid, "Rss") for pid in pids)
    client = rig.load(port, roots, *identity, "idle", IDLE, 100, 5, path, background=True)
    line = client.stdout.readline()
    opened = json.loads(line)["done"]
    after = sum(rig.memory_kib(pid, "Rss") for pid in pids)
    client.wait(60)
    return (after - before) / opened


def run():
    hub = rig.Hub()
    try:
        hub.factory()
        identity = hub.enrol("load")
        rows = []
        for what, lines, name in (
                ("new-connection", "", "nginx as Debian sets it up"),
                ("new-connection-tuned", "ssl_session_tickets off; ssl_session_cache shared:S:20m;",
                 "nginx, tickets off, session cache")):
            rig.say(f"{what}: {rig.ROUNDS} rounds of {rig.SECONDS} s each way")
            nginx = rig.Nginx(hub, lines)
            try:
                ours, theirs = rounds(hub, identity, nginx)
            finally:
                nginx.stop()
            rows.append(rig.row(what, "connections per second of server CPU", ours, theirs, name))
        rows.append(idle(identity))
        return rows
    finally:
        hub.stop()


def idle(identity):
    """In processes of their own, so that no memory that was used before serves again."""
    rig.say(f"idle-connection: {IDLE} connections")
    hub = rig.Hub()
    nginx = None
    try:
        hub.factory()
        identity = hub.enrol("load")
        ours = idle_kib(rig.descendants(hub.process.pid), hub.ports["device"], hub.roots, identity, PATH)
        nginx = rig.Nginx(hub, "ssl_session_tickets off; ssl_session_cache shared:S:20m;")
        theirs = idle_kib(rig.descendants(nginx.process.pid), nginx.port, hub.roots, identity,
                          "path=/index.html")
        return rig.row("idle-connection", "KiB", ours, theirs, "nginx, tickets off, session cache",
                       higher_is_better=False)
    finally:
        if nginx:
            nginx.stop()
        hub.stop()
