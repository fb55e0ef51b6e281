"""Ledgered durable writes over HTTPS, and a revocation while a million rows are taken in."""

import os
import threading
import time

import rig

IMPORT_ROWS = int(os.environ.get("HOLDFAST_BENCH_ROWS", "1000000"))
REPORT = ('{"agent_version":"1.0","platform":"linux","key_storage":"file","boot_count":{n},'
          '"facts":{"os":"Debian 12"}}')


def report(hub, identity, connections):
    body = hub.path("report.json")
    with open(body, "w", encoding="ascii") as file:
        file.write(REPORT)
    return rig.load(hub.ports["device"], hub.roots, *identity, "kept", 0, connections, rig.SECONDS,
                    "method=PUT", "path=/v1/device/report", "type=application/json", f"body={body}")


class Import(threading.Thread):
    """Takes in a manifest in chunks, as `holdfast manifest import` does, one after the other."""

    def __init__(self, hub):
        super().__init__(daemon=True)
        self.hub = hub
        self.rows = 0

    def run(self):
        connection = self.hub.connection()
        while self.rows < IMPORT_ROWS:
            keys = os.urandom(32 * rig.CHUNK).hex()
            rows = ",".join(f'{{"serial":"m-{self.rows + i}","key_sha256":"{keys[64 * i:64 * i + 64]}"}}'
                            for i in range(rig.CHUNK))
            connection.request("POST", "/v1/manifests/batch/devices", f'{{"rows":[{rows}]}}',
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 201:
                raise RuntimeError(data[:300])
            self.rows += rig.CHUNK


def revoke_during_import(hub):
    """Milliseconds from request to answer of one revocation after the other."""
    hub.add_devices([{"serial": f"cut-{i}", "claim": {"expires_at": "2099-01-01T00:00:00Z"}}
                     for i in range(2000)])
    connection = hub.connection()
    taking_in = Import(hub)
    started = time.monotonic()
    taking_in.start()
    times = []
    while taking_in.is_alive() and len(times) < 2000:
        before = time.monotonic()
        hub.api("POST", f"/v1/devices/cut-{len(times)}/revoke", {"reason": "benchmark"}, connection)
        times.append((time.monotonic() - before) * 1000)
        time.sleep(0.05)
    taking_in.join()
    spent = time.monotonic() - started
    rig.say(f"{taking_in.rows} rows in {spent:.1f} s, {len(times)} revocations meanwhile, "
            f"slowest {max(times):.1f} ms")
    return times, taking_in.rows / spent


def run():
    hub = rig.Hub(pinned=False)
    try:
        hub.factory()
        identity = hub.enrol("load")
        rates = {64: [], 256: []}
        p99 = []
        for turn in range(rig.ROUNDS):
            rig.say(f"round {turn + 1} of {rig.ROUNDS}")
            for connections, kept in rates.items():
                result = report(hub, identity, connections)
                kept.append(result["rate"])
                if connections == 64:
                    p99.append(result["p99_us"] / 1000)
        rig.say(f"taking in {IMPORT_ROWS} manifest rows")
        times, rows_per_second = revoke_during_import(hub)
        hub.api("GET", "/v1/health")
        return [
            rig.row("kept-64", "writes/s", rig.median(rates[64])),
            rig.row("kept-256", "writes/s", rig.median(rates[256])),
            rig.row("p99-64", "ms", rig.median(p99)),
            rig.row("priority-p99", "ms", rig.percentile(times, 0.99)),
            rig.row("import", "rows/s", rows_per_second),
        ]
    finally:
        hub.stop()
