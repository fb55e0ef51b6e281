#!/usr/bin/python3
"""The reference says what the code does: every problem code and every act stands in docs/reference/."""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
PROBLEM = re.compile(r'\b[45]\d\d,\s*"([a-z][a-z0-9-]*)"')
ACT = re.compile(r'"((?:device|model|manifest|token|trust-bundle|finding)\.[a-z-]+)"')
# Names of writes and log events that are no acts.
NO_ACTS = {"device.move", "device.moved", "device.enrolled", "device.renewed", "device.seen"}


def used(pattern, folders):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.c")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                for word in pattern.findall(line):
                    yield word, f"{path.relative_to(ROOT)}:{number}"


def missing(pattern, folders, document, passed=frozenset()):
    text = (ROOT / "docs" / "reference" / document).read_text(encoding="utf-8")
    known = set(re.findall(r"`([^`]+)`", text))
    return [f"{where}: `{word}` is not in docs/reference/{document}"
            for word, where in used(pattern, folders) if word not in known and word not in passed]


findings = missing(PROBLEM, ("hub", "api", "base", "pki"), "problems.md")
findings += missing(ACT, ("hub",), "acts.md", NO_ACTS)
print("\n".join(findings) or "reference: every problem and act is documented")
sys.exit(1 if findings else 0)
