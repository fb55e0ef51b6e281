"""A full ledger judged offline by holdfast-verify, and by Go's sumdb packages: entries in a second of one core."""

import os
import resource
import shutil
import subprocess
import tempfile

import rig

ENTRIES = int(os.environ.get("HOLDFAST_BENCH_ENTRIES", "3000000"))
GO_SOURCES = [os.path.join(rig.ROOT, "tests", "e2e", "sumdb", name) for name in ("verify_folder.go", "common.go")]


def build_go(folder):
    program = os.path.join(folder, "verify_folder")
    subprocess.run(["go", "build", "-o", program, *GO_SOURCES], check=True,
                   env={**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode",
                        "GOCACHE": os.environ.get("GOCACHE", os.path.join(folder, "cache"))})
    return program


def cpu_seconds(words, says):
    """Seconds of processor time until it has said that all is well; Go's collector may use a second core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if says not in out:
        raise RuntimeError(f"{words[0]}: {out}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def run():
    folder = tempfile.mkdtemp(prefix="holdfast-bench-")
    try:
        log = os.path.join(folder, "log")
        rig.say(f"making a ledger of {ENTRIES} entries")
        subprocess.run([rig.program("bench/log_maker"), log, str(ENTRIES)], check=True)
        with open(os.path.join(log, "ledger.vkey"), encoding="ascii") as file:
            key = file.read().strip()
        go = build_go(folder)
        ours, theirs = [], []
        for turn in range(rig.ROUNDS):
            rig.say(f"round {turn + 1} of {rig.ROUNDS}")
            ours.append(ENTRIES / cpu_seconds([rig.program("verify/holdfast-verify"), "--key", key, log],
                                              "all entries belong to the signed root"))
            theirs.append(ENTRIES / cpu_seconds([go, key, "-", "0", log], f"verified {ENTRIES}"))
        return [rig.row("entries", "entries/s of one core", rig.median(ours), rig.median(theirs),
                        "Go's sumdb packages")]
    finally:
        shutil.rmtree(folder)
