"""A hub with a million devices that have certificates: what they take, and what they cost it."""

import json
import os
import shutil
import sqlite3
import subprocess
import time

import handshake
import rig

DEVICES = int(os.environ.get("HOLDFAST_BENCH_DEVICES", "1000000"))
CHECKIN = ('{"agent_version":"0.1.0","uptime_seconds":86400,'
           '"boot_id":"5d1c0f7e-8a61-4c52-9a1b-2f6f3e1c9d40",'
           '"certificate_expires_at":"2099-01-01T00:00:00Z"}')
SUPERSEDED = 4  # RFC 5280, 5.3.1
MAKING_MAX = 300  # seconds: all lists, beside the load
NGINX = "nginx's GET of a small file"


def make_fleet(hub, devices=DEVICES, store=None, more=()):
    """One device enrols and checks in; all others are clones of it, rows and entries alike. The hub has ended then."""
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
    rig.say(f"making {devices} devices with {len(own)} entries each")
    subprocess.run([rig.program("bench/fleet_maker"), store or f"sqlite:{hub.path('state/hub.db')}", "load",
                    str(devices), hub.path("entries"), *more], check=True)
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


def end_certificates(hub):
    """A certificate of each device was replaced by another and is still in date, as in a fleet that renews daily."""
    date, not_after = int(time.time()), int(time.time()) + 86400
    database = sqlite3.connect(hub.path("state/hub.db"))
    try:
        with database:
            database.executemany(
                "INSERT INTO crl_entry (entry, serial, reason, date, not_after) VALUES (?, ?, ?, ?, ?)",
                ((entry, date.to_bytes(4, "big") + os.urandom(12), SUPERSEDED, date, not_after)
                 for entry in range(DEVICES)))
    finally:
        database.close()


def checkin_p99(hub, identity, words):
    """Microseconds, in a second of load."""
    return rig.load(hub.ports["device"], hub.roots, *identity, "kept", 0, 16, 1, *words)["p99_us"]


def crl_lists(hub):
    """Complete lists made since the hub started."""
    return hub.metrics().get('holdfast_crl_made_total{kind="complete"}', 0)


def crl_rows(hub, identity, words):
    """The first lists are made once the hub starts: all of them, whose entries are all that there are."""
    making, idle, seconds, size = [], [], [], 0
    for turn in range(rig.ROUNDS):
        rig.say(f"lists, round {turn + 1} of {rig.ROUNDS}")
        shutil.rmtree(hub.path("state/crl"), ignore_errors=True)
        hub.start()
        during, end = [], time.monotonic() + MAKING_MAX
        while not crl_lists(hub):
            if time.monotonic() > end:
                raise RuntimeError("the lists are not made")
            during.append(checkin_p99(hub, identity, words))
        during.pop()  # they were ready before it ended
        if not during:
            rig.say("note: lists of so small a fleet are made too fast to measure anything meanwhile")
            hub.end()
            return []
        made = hub.metrics()
        seconds.append(made['holdfast_crl_seconds_sum{kind="complete"}'])
        size = made['holdfast_crl_bytes{kind="complete"}']
        if made['holdfast_crl_entries{kind="complete"}'] < DEVICES:
            raise RuntimeError("the list lacks entries")
        time.sleep(2)  # the first deltas follow
        making.append(rig.median(during))
        idle.append(rig.median([checkin_p99(hub, identity, words) for _ in during]))
        rig.say(f"p99 {making[-1]:.0f} us in {seconds[-1]:.1f} s of making, {idle[-1]:.0f} us when idle")
        hub.end()
    ratios = [one / other for one, other in zip(making, idle)]
    return [
        rig.row("crl", "p99 of check-ins meanwhile, of idle's", rig.median(ratios)),
        rig.row("crl-p99", "us", rig.median(making), rig.median(idle), "when idle", higher_is_better=False),
        rig.row("crl-seconds", "s, 17 lists, under that load", rig.median(seconds)),
        rig.row("crl-bytes", f"bytes of the list of all, {DEVICES} entries", size),
    ]


def run():
    # Where others are told a place to ask, lists are made by shards, too.
    hub = rig.Hub({"public-url": "http://localhost", "listen-status": "127.0.0.1:0"})
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
        hub.end()
        nginx.stop()
        nginx = None
        end_certificates(hub)
        return [
            rig.row("database", f"MiB without the ledger, {DEVICES} devices", others / 2**20),
            rig.row("entry", "bytes a ledger entry, with its tree", ledger / entries),
            rig.row("start", "s until it listens", rig.median(starts)),
            rig.row("checkin", "per second of server CPU, kept", rig.median(kept), rig.median(theirs),
                    NGINX),
            rig.row("checkin-new", "per second of server CPU, new", rig.median(fresh),
                    rig.median(bare), "bare mutual-TLS handshake of the hub"),
            *crl_rows(hub, identity, words),
        ]
    finally:
        if nginx:
            nginx.stop()
        hub.stop()
