"""What a policy costs a broker: decisions over a table of a million devices, and how soon it has both after a start."""

import json
import os
import subprocess

import rig

DEVICES = int(os.environ.get("HOLDFAST_BENCH_DEVICES", "1000000"))


def run():
    found = []
    for turn in range(rig.ROUNDS):
        rig.say(f"round {turn + 1} of {rig.ROUNDS}: {DEVICES} devices")
        out = subprocess.run([rig.program("bench/policy_bench"), str(DEVICES), str(rig.SECONDS)],
                             check=True, capture_output=True, text=True).stdout
        found.append(json.loads(out))

    def of(name):
        return rig.median([one[name] for one in found])

    return [
        rig.row("decisions", "decisions/s of one core", of("decisions")),
        rig.row("decisions-found", "decisions/s, the device found by name", of("found")),
        rig.row("compile", "s of one core, policy and table", of("compile")),
        rig.row("compile-policy", "ms of it, the policy alone", of("policy") * 1000),
    ]
