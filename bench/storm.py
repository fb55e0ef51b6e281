"""Ten thousand devices come to a real Mosquitto with the plugin at once, for the first time, while its hub is killed
and started anew, and some of them are cut off: who is let in, and how soon the hub has been told of all."""

import json
import os
import resource
import threading
import time

import cut
import rig

BEFORE, DURING = range(0, 100), range(5000, 5100)  # cut off before the storm; after the hub has come back
DOWN = 5  # seconds without a hub
MIB = 1024


class Storm(cut.Fleet):
    """A hub and a Mosquitto beside it, and devices that all come at once."""

    def __init__(self):
        self.opened = None
        super().__init__(more={"listen-device": f"127.0.0.1:{rig.free_port()}"})

    def connect(self):
        """Nobody has ever been here."""

    def revoke(self, numbers):
        self.hub.api("POST", "/v1/cuts", {"move": "revoke", "reason": "a benchmark",
                                          "devices": [{"id": f"d-{number}"} for number in numbers]})

    def confirm(self, numbers):
        rig.wait_for("each leg to confirm", lambda: all(
            self.hub.api("GET", f"/v1/devices/d-{number}/cut")["status"] == "complete" for number in numbers), 120)

    def come(self):
        self.idle = self.client("idle", cut.SESSIONS)
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        for line in self.idle.stdout:
            one = json.loads(line)
            if "ended" in one:
                self.ended[one["ended"]] = (one["at_us"], one["reason"])
            else:
                self.opened = one

    def status(self):
        with open(os.path.join(self.state, "status.json"), encoding="ascii") as file:
            return json.load(file)

    def kill_hub(self):
        self.hub.process.kill()
        self.hub.process.wait(60)
        os.unlink(self.hub.path("ports"))

    def hub_peak(self):
        """MiB that the hub had resident at most, since it was started anew."""
        with open(f"/proc/{self.hub.process.pid}/status", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("VmHWM:")).split()[1]) / MIB

    def wait_for_acts(self, first, n):
        """The devices that came for the first time, by the ledger, once there are so many."""
        came, at, connection = [], first, self.hub.connection()
        until = time.monotonic() + 300
        while len(came) < n:
            page = self.hub.api("GET", f"/v1/ledger/entries?limit=1000&first={at}", connection=connection)["entries"]
            at += len(page)
            came += [one["entry"]["subject"] for one in page if one["entry"]["act"] == "broker.connect"]
            if not page:
                if time.monotonic() > until:
                    raise RuntimeError(f"{len(came)} of {n} first connects are acts")
                time.sleep(0.2)
        return came

    def size(self):
        return self.hub.api("GET", "/v1/hub")["ledger"]["size"]


def check(one, came):
    """Nobody who was cut off is there, everybody else is, and each is one act."""
    opened, refused = one.opened["open"], one.opened["refused"]
    gone = [number for number, (_, reason) in one.ended.items() if reason == 152]
    if len(set(came)) != len(came) or len(came) != opened:
        raise RuntimeError(f"{opened} were let in, and there are {len(came)} acts of {len(set(came))} devices")
    if any(f"device/d-{number}" in came for number in BEFORE):
        raise RuntimeError("a device that was cut off before has come in")
    if set(gone) - set(DURING) or refused + len(gone) != len(BEFORE) + len(DURING):
        raise RuntimeError(f"{refused} were refused, and {len(gone)} sessions ended")
    left = cut.SESSIONS - len(BEFORE) - len(DURING)
    rig.wait_for("the others to be there", lambda: one.status()["sessions"] == left)


def storm(one):
    one.revoke(BEFORE)
    one.confirm(BEFORE)
    first = one.size()
    began, cpu = time.monotonic(), one.cpu()
    one.come()
    rig.wait_for("the first thousand", lambda: one.status()["sessions"] > 1000, 120)
    one.kill_hub()
    time.sleep(DOWN)
    away = one.status()["sessions"]
    one.hub.start()
    one.revoke(DURING)
    rig.wait_for("all to be in", lambda: one.opened, 600)
    seconds, cpu = time.monotonic() - began, one.cpu() - cpu
    came = one.wait_for_acts(first, one.opened["open"])
    told = time.monotonic() - began - seconds
    one.confirm(DURING)
    check(one, came)
    rig.say(f"{away} sessions when the hub came back; {one.opened['open']} let in after {seconds:.1f} s, "
            f"{one.opened['refused']} refused; all told {told:.1f} s later, with {one.hub_peak():.0f} MiB")
    return cut.SESSIONS / cpu, seconds, told, one.hub_peak()


def run():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor for each session
    one = Storm()
    try:
        rate, seconds, told, peak = storm(one)
    finally:
        one.end()
    return [
        rig.row("connects", "/s of the broker's processor time", rate),
        rig.row("in", "s, until all are in or refused", seconds),
        rig.row("told", "s, from then to the last one's act", told),
        rig.row("hub-memory", "MiB resident at most", peak),
    ]
