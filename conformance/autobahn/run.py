"""Run the Autobahn testsuite against gunicorn with this worker, and against aiohttp alone.

No case that aiohttp passes may fail here, and none at all but for those that expected.ini gives a
reason for.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "autobahn"

# Autobahn's own client and the last virtualenv for the one Python that it runs on.
TESTSUITE = "autobahntestsuite==25.10.1"
VIRTUALENV = "virtualenv<20.22"

# Framing, pings, reserved bits, opcodes, fragments, UTF-8, closes; 10.* splits what is sent.
CORE = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
# Large messages and many of them; compression.
LIMITS = ["9.*"]
COMPRESSION = ["12.*", "13.*"]
# Of those, one message size of each, for a run that does not take ten minutes.
SOME_COMPRESSION = ["12.*.2", "13.*.2"]

# Who is asked, and what besides the core in a short and in a full run: aiohttp alone, then ours.
# "deflate" accepts compression, "thread" is a synchronous view.
AGENTS = {
    "raw": (SOME_COMPRESSION, [*LIMITS, *COMPRESSION]),
    "plain": ([], LIMITS),
    "deflate": (SOME_COMPRESSION, COMPRESSION),
    "thread": ([], []),
}

# The largest message of all cases has 16 MiB.
MAX_MESSAGE = 64 << 20

# Seconds for the cases of one agent.
CORE_TIMEOUT = 300
FULL_TIMEOUT = 3600

GOOD = {"OK", "INFORMATIONAL"}

# By the number of a case: how the server behaved in it, and how it closed.
Results: TypeAlias = dict[str, tuple[str, str]]


def install(python27: str) -> Path:
    """Return Autobahn's ``wstest``, after installing it in an environment of Python 2.7."""
    environment, library = BUILD / "env", BUILD / "virtualenv"
    marker = environment / TESTSUITE
    if not marker.exists():
        for left in (environment, library):
            shutil.rmtree(left, ignore_errors=True)
        run(python27, "-m", "pip", "install", "-qq", "--target", str(library), VIRTUALENV)
        run(python27, "-m", "virtualenv", "--quiet", str(environment), PYTHONPATH=str(library))
        run(str(environment / "bin" / "pip"), "install", "-qq", TESTSUITE)
        marker.touch()
    return environment / "bin" / "wstest"


def run(*command: str, **environment: str) -> None:
    """Run one command to its end."""
    warnings = {"PYTHONWARNINGS": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(command, check=True, env={**os.environ, **warnings, **environment})  # noqa: S603


@contextlib.contextmanager
def serve(name: str, *command: str) -> Iterator[int]:
    """Run a server that says where it listens, and give its port."""
    log = BUILD / f"{name}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603
            (sys.executable, *command), stdout=output, stderr=output, cwd=HERE
        )
    try:
        deadline = time.monotonic() + 30
        while not (found := re.search(r"Listening at: \S+:(\d+)", log.read_text())):
            if time.monotonic() > deadline or server.poll() is not None:
                raise SystemExit(f"{name} does not listen:\n{log.read_text()}")
            time.sleep(0.05)
        yield int(found.group(1))
    finally:
        server.terminate()
        server.wait(60)


def ask(wstest: Path, agent: str, port: int, full: bool) -> Results:
    """Send one agent its cases, and return what Autobahn thinks of each."""
    reports = BUILD / "reports" / agent
    shutil.rmtree(reports, ignore_errors=True)
    specification = BUILD / f"{agent}.json"
    specification.write_text(
        json.dumps(
            {
                "outdir": str(reports),
                "options": {"failByDrop": False},
                "servers": [{"agent": agent, "url": f"ws://127.0.0.1:{port}/{agent}"}],
                "cases": [*CORE, *AGENTS[agent][full]],
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    with (BUILD / f"{agent}.log").open("wb") as log:
        subprocess.run(  # noqa: S603
            (str(wstest), "-m", "fuzzingclient", "-s", str(specification)),
            check=True,
            stdout=log,
            stderr=log,
            timeout=FULL_TIMEOUT if full else CORE_TIMEOUT,
        )
    index = json.loads((reports / "index.json").read_text())[agent]
    return {case: (found["behavior"], found["behaviorClose"]) for case, found in index.items()}


def expected() -> dict[str, str]:
    """Return the behaviour of the cases that do not pass, by their numbers."""
    parser = configparser.ConfigParser(delimiters="=", interpolation=None)
    parser.read(HERE / "expected.ini")
    return {case: text.split(":")[0] for case, text in parser["cases"].items()}


def judge(agent: str, results: Results, raw: Results, excused: dict[str, str]) -> list[str]:
    """Return what is wrong with the results of one agent.

    Args:
        raw: Those of aiohttp alone.
        excused: The behaviour of each case that need not pass.
    """
    problems = [] if results else [f"{agent}: no case was run"]
    for case, behaviours in results.items():
        worst = next((each for each in behaviours if each not in GOOD), "")
        if worst and set(raw.get(case, {""})) <= GOOD:
            problems.append(f"{agent} {case}: {worst}, and aiohttp alone passes it")
        elif worst and excused.get(case) != worst:
            problems.append(f"{agent} {case}: {worst}")
        elif not worst and case in excused:
            problems.append(f"{agent} {case}: passes, and is excused for nothing")
    problems += [f"{agent} {case}: was not run" for case in excused if case not in results]
    return problems


def table(results: dict[str, Results]) -> str:
    """Return how many cases of each agent ended how, as lines of text."""
    lines = []
    for agent, cases in results.items():
        counts = Counter(behaviour for behaviour, _ in cases.values())
        lines.append(
            f"{agent:8} {len(cases):4} cases: "
            + ", ".join(f"{number} {behaviour}" for behaviour, number in counts.most_common())
        )
    return "\n".join(lines)


def works(python27: str) -> bool:
    """Return True if there is such a Python; a shim may stand in its place and fail."""
    try:
        return not subprocess.run((python27, "-c", ""), capture_output=True).returncode  # noqa: S603
    except OSError:
        return False


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python27", default="python2.7", help="the interpreter for Autobahn")
    parser.add_argument("--full", action="store_true", help="also limits and compression")
    options = parser.parse_args()
    if not works(options.python27):
        print(
            f"Autobahn needs Python 2.7, and {options.python27!r} does not run: install it, "
            "or say where it is with 'make autobahn PYTHON27=/path/to/python2.7'"
        )
        return 1 if os.environ.get("FLASK_AIOHTTP_REQUIRE_ALL") == "1" else 0

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    BUILD.mkdir(parents=True, exist_ok=True)
    wstest = install(options.python27)
    gunicorn = (
        *("-m", "gunicorn", "app:app", "-k", "flask_aiohttp_worker.Worker", "--no-control-socket"),
        *("--bind", "127.0.0.1:0", "--websocket-max-message-size", str(MAX_MESSAGE)),
    )
    with (
        serve("aiohttp", "raw.py", str(MAX_MESSAGE)) as raw_port,
        serve("gunicorn", *gunicorn) as port,
        ThreadPoolExecutor(len(AGENTS)) as pool,
    ):
        jobs = {
            agent: pool.submit(
                ask, wstest, agent, raw_port if agent == "raw" else port, options.full
            )
            for agent in AGENTS
        }
        results = {agent: job.result() for agent, job in jobs.items()}

    excused = expected()
    problems = [
        problem
        for agent in AGENTS
        if agent != "raw"
        for problem in judge(agent, results[agent], results["raw"], excused)
    ]
    log = (BUILD / "gunicorn.log").read_text()
    if "Traceback" in log or "[ERROR]" in log:
        problems.append(f"there are errors in {BUILD / 'gunicorn.log'}")
    text = table(results)
    (BUILD / "summary.txt").write_text(f"{text}\n")
    print(text)
    print("\n".join(problems) or f"passed; the reports are in {BUILD / 'reports'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
