"""A hub with a million devices that have certificates: what they take, and what they cost it."""

import json
import os
import sqlite3
import subprocess

import handshake
import rig

DEVICES = int(os.environ.get("HOLDFAST_BENCH_DEVICES", "1000000"))
CHECKIN = ('{"agent_version":"0.1.0","uptime_seconds":86400,'
           '"boot_id":"5d1c0f7e-8a61-4c52-9a1b-2f6f3e1c9d40",'
           '"certificate_expires_at":"2099-01-01T00:00:00Z"}')
NGINX = "nginx's GET of a small file"


def make_fleet(hub):
    """One device enrols and checks in; all others are clones of it, rows and entries alike."""
    identity = hub.enrol("load")
    rig.load(hub.ports["device"], hub.roots, *identity, "kept", 1, 1, 5, "path=/v1/device/self")
    rig.wait_for("the certificate to be confirmed", lambda: any(
        one["status"] == "active" for one in hub.api("GET", "/v1/devices/load/certificates")["certificates"]))
    entries = [one["entry"] for one in hub.api("GET", "/v1/ledger/entries?limit=1000")["entries"]]
    own = [one for one in entries if one["subject"] == "device/load"]
    serial = next(one["data"]["serial"] for one in own if one["act"] == "device.enrol")
    key = next(one["data"]["key"] for one in own if one["act"] == "device.enrol")
    with open(hub.path("entries"), "w", encoding="utf-8") as file:
        for one in own:
            data = json.dumps(one["data"], separators=(",", ":"))
            file.write(f"{one['act']}\t{data.replace(serial, '{serial}').replace(key, '{key}')}\n")
    hub.end()
    rig.say(f"making {DEVICES} devices with {len(own)} entries each")
    subprocess.run([rig.program("bench/fleet_maker"), f"sqlite:{hub.path('state/hub.db')}", "load",
                    str(DEVICES), hub.path("entries")], check=True)
    return identity


def table_bytes(hub):
    """Bytes of the database's pages, by the ledger's tables and all others."""
    database = sqlite3.connect(f"file:{hub.path('state/hub.db')}?mode=ro", uri=True)
    try:
        owner = dict(database.execute("SELECT name, tbl_name FROM sqlite_schema"))
        ledger = others = 0
        for name, size in database.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name"):
            if owner.get(name, name).startswith("ledger_"):
                ledger += size
            else:
                others += size
        return ledger, others
    finally:
        database.close()


def checkin_words(hub):
    body = hub.path("checkin.json")
    with open(body, "w", encoding="ascii") as file:
        file.write(CHECKIN)
    return ("method=POST", "path=/v1/device/checkin", "type=application/json", f"body={body}")


def run():
    hub = rig.Hub()
    nginx = None
    try:
        hub.factory()
        identity = make_fleet(hub)
        starts = []
        for _ in range(rig.ROUNDS):
            starts.append(hub.start())
            hub.end()
        ledger, others = table_bytes(hub)
        hub.start()
        entries = hub.api("GET", "/v1/ledger/entries?limit=1")["size"]

        words = checkin_words(hub)
        nginx = rig.Nginx(hub, "ssl_session_tickets off; ssl_session_cache shared:S:20m;")
        kept, theirs, fresh, bare = [], [], [], []
        for turn in range(rig.ROUNDS):
            rig.say(f"round {turn + 1} of {rig.ROUNDS}")
            device = hub.ports["device"]
            kept.append(rig.per_cpu_second(hub, lambda: rig.load(
                device, hub.roots, *identity, "kept", 0, 16, rig.SECONDS, *words))["per_cpu_second"])
            theirs.append(rig.per_cpu_second(nginx, lambda: rig.load(
                nginx.port, hub.roots, *identity, "kept", 0, 16, rig.SECONDS,
                "path=/index.html"))["per_cpu_second"])
            fresh.append(rig.per_cpu_second(hub, lambda: rig.load(
                device, hub.roots, *identity, "connect", 0, 16, rig.SECONDS, *words))["per_cpu_second"])
            bare.append(handshake.full(hub, device, hub.roots, identity, handshake.PATH))
        return [
            rig.row("database", f"MiB without the ledger, {DEVICES} devices", others / 2**20),
            rig.row("entry", "bytes a ledger entry, with its tree", ledger / entries),
            rig.row("start", "s until it listens", rig.median(starts)),
            rig.row("checkin", "per second of server CPU, kept", rig.median(kept), rig.median(theirs),
                    NGINX),
            rig.row("checkin-new", "per second of server CPU, new", rig.median(fresh),
                    rig.median(bare), "bare mutual-TLS handshake of the hub"),
        ]
    finally:
        if nginx:
            nginx.stop()
        hub.stop()
