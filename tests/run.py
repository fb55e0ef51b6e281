#!/usr/bin/python3
"""Runs everything that is checked, and ends with the line `N passed, N failed`.

usage: tests/run.py [--full] [STEP...]

What is missing counts as failed: a test whose program was not built, a fuzzer without a corpus, a
step that ran nothing. Every report of a sanitizer counts as well, from whichever process.
"""
import concurrent.futures
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ASAN = os.path.join(ROOT, "build", "asan")
RELEASE = os.path.join(ROOT, "build", "release")
FUZZ = os.path.join(ROOT, "build", "fuzz")
PYTHON = "/usr/bin/python3"
PROCESSORS = len(os.sched_getaffinity(0))


class Result:
    """What came of a step, or of one program in it."""

    def __init__(self, passed=0, failed=0, skipped=0, note="", output=""):
        self.passed, self.failed, self.skipped = passed, failed, skipped
        self.note, self.output = note, output

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        if other.failed:
            self.output += other.output.rstrip("\n") + "\n"


class Run:
    """A program that has ended: its exit status and what it said."""

    def __init__(self, command, seconds=600, env=None):
        self.command = " ".join(os.path.relpath(c, ROOT) if c.startswith(ROOT) else c
                                for c in command)
        try:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       errors="replace", env={**os.environ, **(env or {})},
                                       start_new_session=True)
        except OSError as e:
            self.status, self.output = 127, f"{command[0]}: {e.strerror}\n"
            return
        try:
            self.output, _ = process.communicate(timeout=seconds)
            self.status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own group: it and its children
            self.output, _ = process.communicate()
            self.output += f"\nended after {seconds} s\n"
            self.status = 124
        except BaseException:  # Ctrl-C does not reach that group by itself
            os.killpg(process.pid, signal.SIGTERM)
            raise

    def report(self):
        return f"$ {self.command}\n{self.output}\n(exit status {self.status})\n"

    def as_one(self, note=""):
        if self.status == 0:
            return Result(passed=1, note=note)
        return Result(failed=1, output=self.report())


def failure(text):
    return Result(failed=1, output=text + "\n")


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


# ---- sanitizers: their reports go to files, so that none is overlooked

REPORTS = None


def sanitizer_env():
    common = f"log_path={REPORTS}/report:log_exe_name=1"
    return {"ASAN_OPTIONS": f"{common}:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": f"{common}:print_stacktrace=1"}


def sanitizer_reports():
    result = Result()
    for path in sorted(glob.glob(f"{REPORTS}/report*")):
        with open(path, errors="replace") as f:
            result.add(failure(f.read()))
        os.unlink(path)
    return result


# ---- steps

def build(target):
    run = Run(["make", "-s", target], 1200)
    return Result(note="built") if run.status == 0 else Result(failed=1, output=run.report())


def lint():
    run = Run([PYTHON, "-B", "tools/lint/lint.py"], 600)
    found = re.search(r"^(\d+) passed, (\d+) failed$", run.output, re.M)
    if not found or (run.status == 0) != (found[2] == "0"):
        return Result(failed=1, output=run.report())
    return Result(int(found[1]), int(found[2]), output=run.output)


def unit_test(command):
    """One cmocka program, perhaps with what starts a database for it; its cases are counted by its
    TAP output."""
    if not os.access(command[-1], os.X_OK):
        return failure(f"{os.path.relpath(command[-1], ROOT)}: not built")
    run = Run(command, 300, {"CMOCKA_MESSAGE_OUTPUT": "TAP", **sanitizer_env()})
    planned = sum(int(n) for n in re.findall(r"^1\.\.(\d+)", run.output, re.M))
    skipped = len(re.findall(r"^(?:not )?ok \d+ # SKIP", run.output, re.M))
    passed = len(re.findall(r"^ok \d+ (?!# SKIP)", run.output, re.M))
    failed = len(re.findall(r"^not ok \d+ (?!# SKIP)", run.output, re.M))
    failed += max(0, planned - passed - failed - skipped)  # never came to their turn
    if failed == 0 and (run.status != 0 or passed + skipped == 0):
        failed = 1
    return Result(passed, failed, skipped, output=run.report())


def unit():
    """Every source of a test has to be one of the runs that tests/unit/meson.build declares."""
    listed = Run(["meson", "introspect", ASAN, "--tests"], 60)
    if listed.status != 0:
        return Result(failed=1, output=listed.report())
    folder = os.path.join(ASAN, "tests", "unit", "")
    commands = [[*test["cmd"][:-1], os.path.join(ASAN, test["cmd"][-1])]
                for test in json.loads(listed.output)]
    commands = [command for command in commands if command[-1].startswith(folder)]
    programs = {command[-1] for command in commands}
    result = Result(note=f"{len(programs)} programs")
    for source in sorted(glob.glob(f"{ROOT}/tests/unit/test_*.c")):
        if folder + os.path.basename(source)[:-2] not in programs:
            result.add(failure(f"{os.path.relpath(source, ROOT)}: not in tests/unit/meson.build"))
    with concurrent.futures.ThreadPoolExecutor(PROCESSORS) as pool:
        for one in pool.map(unit_test, commands):
            result.add(one)
    return result


def replay(source):
    name = os.path.basename(source)[:-len("_fuzz.c")]
    program = os.path.join(FUZZ, "fuzz", name + "_fuzz")
    corpus = os.path.join(ROOT, "fuzz", "corpus", name)
    if not os.access(program, os.X_OK):
        return failure(f"{name}_fuzz: not built")
    if not os.path.isdir(corpus) or not os.listdir(corpus):
        return failure(f"fuzz/corpus/{name}: no corpus")
    return Run([program, "-runs=0", "-timeout=10", f"-artifact_prefix={REPORTS}/", corpus],
               120).as_one()


def fuzz():
    result = Result()
    with concurrent.futures.ThreadPoolExecutor(PROCESSORS) as pool:
        for one in pool.map(replay, sorted(glob.glob(f"{ROOT}/fuzz/*_fuzz.c"))):
            result.add(one)
    inputs = sum(len(files) for _, _, files in os.walk(f"{ROOT}/fuzz/corpus"))
    result.note = f"{inputs} inputs"
    return result


def python():
    result = Result()
    for path in sorted(glob.glob(f"{ROOT}/tests/unit/test_*.py") +
                       glob.glob(f"{ROOT}/tests/lint/test_*.py")):
        run = Run([PYTHON, "-B", path], 300)
        ran = re.search(r"^Ran (\d+) tests? in", run.output, re.M)
        if not ran:
            result.add(Result(failed=1, output=run.report()))
            continue
        counts = {k: int(n) for k, n in re.findall(r"(failures|errors|skipped)=(\d+)", run.output)}
        failed = counts.get("failures", 0) + counts.get("errors", 0)
        if failed == 0 and run.status != 0:
            failed = 1
        skipped = counts.get("skipped", 0)
        result.add(Result(max(0, int(ran[1]) - failed - skipped), failed, skipped,
                          output=run.report()))
    return result


def microcontroller():
    run = Run(["tools/cortex-m3.sh"], 120)
    return run.as_one("; ".join(line.strip() for line in run.output.splitlines()))


def end_to_end(build_folder, full=False):
    files = sorted(glob.glob(f"{ROOT}/tests/e2e/*.test.mjs"))
    env = {"HOLDFAST_BUILD": build_folder, "HOLDFAST_FULL": "1" if full else "", **sanitizer_env()}
    # Most of their time they wait; each has ports and folders of its own.
    run = Run(["node", "--test", f"--test-concurrency={PROCESSORS}", "--test-reporter=tap", *files],
              1800 if full else 1200, env)
    total = {k: int(n) for k, n in
             re.findall(r"^# (pass|fail|cancelled|skipped|todo) (\d+)$", run.output, re.M)}
    failed = total.get("fail", 0) + total.get("cancelled", 0)
    if failed == 0 and (run.status != 0 or total.get("pass", 0) == 0):
        failed = 1
    return Result(total.get("pass", 0), failed, total.get("skipped", 0) + total.get("todo", 0),
                  note=f"{len(files)} files", output=run.report())


def story():
    """`make run` on the release build, and a second start on the state that the first one left."""
    result = Result()
    with tempfile.TemporaryDirectory(prefix="holdfast-story-", ignore_cleanup_errors=True) as folder:
        for _ in ("first start", "second start"):
            result.add(Run(["tools/story.sh"], 120, {"ONCE": "1", "RUN": folder}).as_one())
    return result


def examples():
    """The configuration files that are installed say what the programs take."""
    result = Run([f"{ASAN}/hub/holdfast-hub", "--config", "packaging/hub.conf", "--check"],
                 30).as_one()
    listed = Run([f"{ASAN}/device/holdfast-agent", "--print-config-keys"], 30)
    known = {line.split()[0] for line in listed.output.splitlines() if line.strip()}
    with open(f"{ROOT}/packaging/agent.conf", encoding="utf-8") as f:
        told = set(re.findall(r"^#?([a-z][a-z-]*) =", f.read(), re.M))
    if listed.status == 0 and known == told:
        result.add(Result(passed=1))
    else:
        result.add(failure(f"{listed.report()}packaging/agent.conf: {' '.join(sorted(told ^ known))}"))
    return result


def valgrind():
    run = Run(["tests/valgrind/run.sh", RELEASE], 300)
    return run.as_one(last_line(run.output))


def fuzz_longer():
    run = Run(["tools/fuzz.sh", "60"], 7200)
    return run.as_one()


STEPS = {
    "build-release": lambda: build("build-release"),
    "build-asan": lambda: build("build-asan"),
    "build-fuzz": lambda: build("build-fuzz"),
    "lint": lint,
    "unit": unit,
    "fuzz-corpora": fuzz,
    "python": python,
    "cortex-m3": microcontroller,
    "examples": examples,
    "end-to-end": lambda: end_to_end(ASAN),
    "story": story,
    "valgrind": valgrind,
}
LONGER = {
    "end-to-end-full": lambda: end_to_end(ASAN, full=True),
    "end-to-end-release": lambda: end_to_end(RELEASE, full=True),
    "fuzz-longer": fuzz_longer,
}


def perform(name, step):
    print(f"{name:<20}", end="", flush=True)
    started = time.monotonic()
    result = step()
    result.add(sanitizer_reports())
    if result.failed == 0 and result.passed == 0 and not result.note:
        result.add(failure(f"{name}: nothing ran"))
    parts = [f"{result.passed} passed"] if result.passed or not result.note else []
    parts += [f"{result.failed} FAILED"] if result.failed else []
    parts += [f"{result.skipped} skipped"] if result.skipped else []
    parts += [result.note] if result.note else []
    print(f"{time.monotonic() - started:7.1f} s   {', '.join(parts)}", flush=True)
    if result.failed:
        print(result.output, flush=True)
    return result


def main(arguments):
    global REPORTS
    steps = dict(STEPS)
    if "--full" in arguments:
        arguments.remove("--full")
        steps.update(LONGER)
    unknown = [name for name in arguments if name not in {**STEPS, **LONGER}]
    if unknown:
        sys.exit(f"tests/run.py: no such step: {' '.join(unknown)} (there are {' '.join(steps)})")
    if arguments:
        steps = {name: {**STEPS, **LONGER}[name] for name in arguments}
    started = time.monotonic()
    total = Result()
    with tempfile.TemporaryDirectory(prefix="holdfast-test-") as REPORTS:
        for name, step in steps.items():
            total.add(perform(name, step))
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    print(f"in {minutes} min {seconds} s")
    skipped = f", {total.skipped} skipped" if total.skipped else ""
    print(f"{total.passed} passed, {total.failed} failed{skipped}")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
