"""The agent: how large it is, and how much memory it takes while it waits for its next check-in."""

import os
import subprocess
import time

import rig


def enrolled_agent(hub):
    hub.factory()
    made = hub.api("POST", "/v1/manifests/batch/devices",
                   {"rows": [{"serial": "agent-1", "claim": {"expires_at": "2099-01-01T00:00:00Z"}}]})
    folder = hub.path("agent")
    os.mkdir(folder)
    with open(os.path.join(folder, "claim"), "w", encoding="ascii") as file:
        file.write(made["devices"][0]["claim_code"])
    subprocess.run([rig.program("cli/holdfast"), "--socket", hub.path("hub.sock"), "device", "bundle",
                    "-o", os.path.join(folder, "bundle")], check=True, capture_output=True)
    settings = {
        "hub-bootstrap": f"localhost:{hub.ports['bootstrap']}",
        "hub-device": f"localhost:{hub.ports['device']}",
        "trust-bundle": "bundle", "state": "state", "serial": "agent-1", "claim-file": "claim",
    }
    with open(os.path.join(folder, "agent.conf"), "w", encoding="utf-8") as file:
        file.writelines(f"{key} = {value}\n" for key, value in settings.items())
    agent = subprocess.Popen([rig.program("device/holdfast-agent"), "--config",
                              os.path.join(folder, "agent.conf")], stderr=subprocess.DEVNULL)
    rig.wait_for("the agent to report",
                 lambda: "report" in hub.api("GET", "/v1/devices/agent-1"))
    return agent


def stripped_kib(hub):
    path = hub.path("stripped")
    subprocess.run(["strip", "-o", path, rig.program("device/holdfast-agent")], check=True)
    return os.path.getsize(path) / 1024


def run():
    hub = rig.Hub()
    agent = None
    try:
        agent = enrolled_agent(hub)
        time.sleep(1)
        resident = rig.memory_kib(agent.pid, "Rss") / 1024
        private = rig.memory_kib(agent.pid, "Private_Clean", "Private_Dirty") / 1024
        return [
            rig.row("binary", "KiB, stripped", stripped_kib(hub)),
            rig.row("resident", "MiB", resident),
            rig.row("private", "MiB", private),
        ]
    finally:
        if agent:
            agent.terminate()
            agent.wait(10)
        hub.stop()
