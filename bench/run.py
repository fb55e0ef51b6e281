"""Runs the benchmarks: `run.py [NAME ...]`. A table for people, build/bench/NAME.json for programs."""

import importlib
import json
import os
import sys

import rig

NAMES = ("handshake", "est", "write", "agent", "ocsp", "fleet", "hubs", "verify", "policy", "broker", "cut", "storm")


def show(name, rows):
    print(f"\n{name}")
    for one in rows:
        peer = f"{one['peer']:>12,.2f}  {one['ratio']:>6.2f}  {one['peer_name']}" if one["peer"] else ""
        print(f"  {one['what']:<22}{one['ours']:>12,.2f}  {one['unit']:<38}{peer}")


def main(names):
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}")
    folder = os.path.join(rig.ROOT, "build", "bench")
    os.makedirs(folder, exist_ok=True)
    for name in names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows = importlib.import_module(name).run()
        with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump({"bench": name, "rows": rows}, file, indent=2)
            file.write("\n")
        show(name, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
