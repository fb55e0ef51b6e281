#!/usr/bin/python3
"""The rules of the house, each check by itself; ends with the line `N passed, N failed`.

usage: tools/lint/lint.py [CHECK...]

clang-tidy reads what build/release/compile_commands.json names (`make lint` makes it), and passes
over files that it has found clean before, with the same headers and the same settings.
"""
import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "release")
CLEAN = os.path.join(ROOT, "build", "tidy")  # a file for each clean state, by its hash
PYTHON = "/usr/bin/python3"
PROCESSORS = len(os.sched_getaffinity(0))
NOT_OURS = {"build", "run", ".git", "node_modules", "__pycache__"}


def run(command, **more):
    """None, or what the command has to complain about."""
    try:
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", **more)
    except OSError as e:
        return f"{command[0]}: {e.strerror}\n"
    return None if done.returncode == 0 else done.stdout + f"(exit status {done.returncode})\n"


def files(*endings):
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(d for d in folders if d not in NOT_OURS)
        for name in sorted(names):
            if name.endswith(endings):
                found.append(os.path.relpath(os.path.join(folder, name), ROOT))
    return found


def form():
    return run(["clang-format", "--dry-run", "-Werror", *files(".c", ".h")])


# ---- clang-tidy

def headers_of_objects():
    """object -> the files it was made from, as Ninja has noted them."""
    listed = subprocess.run(["ninja", "-C", BUILD, "-t", "deps"], capture_output=True, text=True,
                            check=True).stdout
    found, current = {}, None
    for line in listed.splitlines():
        if line.startswith("    "):
            path = os.path.normpath(os.path.join(BUILD, line.strip()))
            if path.startswith(ROOT + os.sep):
                current.append(path)
        elif ": #deps" in line:
            current = found.setdefault(line.split(": #deps")[0], [])
    return found


def digest(command, paths):
    h = hashlib.sha256(command.encode())
    for path in [os.path.join(ROOT, ".clang-tidy"), *sorted(paths)]:
        with open(path, "rb") as f:
            h.update(hashlib.sha256(f.read()).digest())
    return h.hexdigest()


def tidy_one(source, mark):
    complaint = run(["clang-tidy", "--quiet", "--extra-arg=-Wno-unknown-warning-option", "-p", BUILD,
                     source])
    if complaint is None:
        with open(mark, "w", encoding="ascii"):
            pass
    return complaint


def tidy():
    database = os.path.join(BUILD, "compile_commands.json")
    if not os.path.exists(database):
        return f"{database}: not there; `make build-release` makes it\n"
    with open(database, encoding="utf-8") as f:
        entries = json.load(f)
    noted = headers_of_objects()
    os.makedirs(CLEAN, exist_ok=True)
    jobs, marks = {}, set()
    for entry in entries:
        source = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        if source.startswith(BUILD):
            continue  # made by a generator that has tests of its own
        paths = noted.get(entry["output"])
        mark = os.path.join(CLEAN, digest(entry["command"], paths or [source]))
        marks.add(mark)
        if paths is None or not os.path.exists(mark):
            jobs[source] = mark
    for name in os.listdir(CLEAN):
        if os.path.join(CLEAN, name) not in marks:
            os.unlink(os.path.join(CLEAN, name))
    with concurrent.futures.ThreadPoolExecutor(PROCESSORS) as pool:
        complaints = [c for c in pool.map(tidy_one, jobs, jobs.values()) if c]
    return "".join(complaints) or None


# ---- the others

def laws():
    return run([PYTHON, "-B", "tools/lint/laws.py"])


def is_shell(path):
    with open(path, "rb") as f:
        first = f.readline(64)
    return first.startswith(b"#!") and (b"bash" in first or first.rstrip().endswith(b"/sh"))


def shell():
    scripts = [path for path in files("") if is_shell(os.path.join(ROOT, path))]
    return run(["shellcheck", "--severity=warning", *scripts])


def man():
    pages = files(*(f".{section}" for section in range(1, 9)))
    if not pages:
        return "there are no man pages\n"
    return run(["mandoc", "-T", "lint", "-W", "warning", *pages])


def python():
    complaints = []
    for path in files(".py"):
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            try:
                compile(f.read(), path, "exec")
            except (SyntaxError, ValueError) as e:
                complaints.append(f"{path}: {e}\n")
    return "".join(complaints) or None


def javascript():
    complaints = [run(["node", "--check", path]) for path in files(".mjs", ".js")]
    return "".join(c for c in complaints if c) or None


def contract():
    """The generator takes the contract."""
    with tempfile.TemporaryDirectory(prefix="holdfast-lint-") as folder:
        return run([PYTHON, "-B", "api/generate.py", "api/openapi.yaml", folder])


def links():
    return run([PYTHON, "-B", "tools/lint/links.py"])


CHECKS = {"laws": laws, "links": links, "format": form, "contract": contract, "shell": shell,
          "man": man, "python": python, "javascript": javascript, "tidy": tidy}


def main(names):
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        sys.exit(f"lint: no such check: {' '.join(unknown)} (there are {' '.join(CHECKS)})")
    failed = 0
    for name in names or CHECKS:
        started = time.monotonic()
        complaint = CHECKS[name]()
        failed += complaint is not None
        print(f"{'FAILED' if complaint else 'ok':<7}{name:<12}{time.monotonic() - started:6.1f} s",
              flush=True)
        if complaint:
            print(complaint, flush=True)
    print(f"{len(names or CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
