"""Run other projects' tests with every request sent through this one, and compare.

No test that passes without us may fail with us, but for those that left_out.ini gives a reason for.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parent / "build" / "conformance"

# Seconds for one test, for one suite, and for all of them.
TEST_TIMEOUT = 60
JOB_TIMEOUT = 270
WHOLE_TIMEOUT = 660

# How many suites run at the same time.
PARALLEL = 2

MODES = ("loop", "threads", "http-loop", "http-threads")


@dataclass(frozen=True)
class Suite:
    """The tests of one distribution.

    Args:
        arguments: What pytest is given.
        config: Its configuration file; without it pytest would find ours.
    """

    arguments: tuple[str, ...] = ("tests",)
    config: str = "pyproject.toml"


# By the names of their distributions, those that take longest first.
SUITES = {
    "sentry-sdk": Suite(("tests/integrations/flask",)),
    "flask-limiter": Suite(config="pytest.ini"),
    # What is left out tests the development server.
    "werkzeug": Suite(("--ignore=tests/test_serving.py", "tests")),
    "flask": Suite(),
    # The others want servers, and tell us nothing.
    "flask-caching": Suite(("-k", "not redis and not memcache", "tests")),
    "flask-cors": Suite(),
    "flask-wtf": Suite(),
}


@dataclass
class Result:
    """What came of one suite in one mode."""

    outcomes: dict[str, str]
    requests: int = 0
    problem: str = ""

    @property
    def passed(self) -> set[str]:
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}


def unpack(suites: Iterable[str]) -> dict[str, Path]:
    """Download and unpack the sdists that are not in the cache, and return where they are."""
    folders = {s: CACHE / f"{s.replace('-', '_')}-{version(s)}" for s in suites}
    missing = [suite for suite, folder in folders.items() if not folder.exists()]
    if missing:
        sdists = CACHE / "sdists"
        subprocess.run(  # noqa: S603
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--no-binary", ":all:", "--dest", str(sdists)),
                *(f"{suite}=={version(suite)}" for suite in missing),
            ],
            check=True,
        )
        for suite in missing:
            with tarfile.open(sdists / f"{folders[suite].name}.tar.gz") as archive:
                archive.extractall(CACHE, filter="data")
    return folders


class Runner:
    """Runs pytest, each suite and mode in a process of its own."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders
        self._deadline = time.monotonic() + WHOLE_TIMEOUT
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, suite: str, mode: str) -> Result:
        """Run one suite in one mode."""
        name = f"{suite}-{mode}"
        temporary, result = CACHE / "tmp" / name, CACHE / f"{name}.json"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        result.unlink(missing_ok=True)
        remaining = min(JOB_TIMEOUT, self._deadline - time.monotonic())
        with (CACHE / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [
                    *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-o", "addopts="),
                    *("-c", SUITES[suite].config, f"--basetemp={temporary / 'pytest'}"),
                    *("-p", "conformance_plugin", "-p", "no:cacheprovider"),
                    *("--timeout", str(TEST_TIMEOUT), "--timeout-method=signal"),
                    *SUITES[suite].arguments,
                ],
                cwd=self._folders[suite],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": str(HERE),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "TMPDIR": str(temporary),
                    "CONFORMANCE_MODE": mode,
                    "CONFORMANCE_RESULT": str(result),
                },
            )
            self._running.add(process)
            try:
                process.wait(max(1.0, remaining))
            except subprocess.TimeoutExpired:
                return Result({}, problem=f"did not end in {remaining:.0f} s")
            finally:
                end(process)
                self._running.discard(process)
                shutil.rmtree(temporary, ignore_errors=True)
        if not result.exists():
            return Result({}, problem=f"pytest failed, see {log.name}")
        return Result(**json.loads(result.read_text()))

    def stop(self) -> None:
        """End whatever runs."""
        for process in tuple(self._running):
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process with whatever it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def left_out() -> configparser.ConfigParser:
    """Return the reasons, by suite and mode, then by test."""
    reasons = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    reasons.optionxform = str  # type: ignore[assignment, method-assign]
    reasons.read(HERE / "left_out.ini")
    return reasons


def compare(name: str, baseline: Result, result: Result, reasons: set[str]) -> tuple[int, int]:
    """Say what is new; return how many tests pass as in the baseline, and what is wrong."""
    problems = [result.problem or baseline.problem] if result.problem or baseline.problem else []
    if not problems:
        lost = baseline.passed - result.passed
        problems += [
            f"{test} passes in the baseline, but not here" for test in sorted(lost - reasons)
        ]
        problems += [f"{test} is left out for nothing" for test in sorted(reasons - lost)]
        if not baseline.passed:
            problems.append("no test passes in the baseline")
        if not result.requests:
            problems.append("no request went through")
    for problem in problems:
        print(f"FAILED {name}: {problem}")
    passed = len(baseline.passed & result.passed)
    line = f"{name}: {passed} passed as in the baseline, {result.requests} requests"
    print(f"{line}, {len(reasons)} left out" if reasons else line, flush=True)
    return passed, len(problems)


def main() -> int:
    """Run what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", default="", help=f"some of: {' '.join(SUITES)}")
    parser.add_argument("--modes", default="", help=f"some of: {' '.join(MODES)}")
    options = parser.parse_args()
    suites = options.suites.split() or list(SUITES)
    modes = options.modes.split() or list(MODES)
    if unknown := {*suites, *modes} - {*SUITES, *MODES}:
        parser.error(f"unknown: {' '.join(sorted(unknown))}")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    CACHE.mkdir(parents=True, exist_ok=True)
    runner = Runner(unpack(suites))
    reasons = left_out()
    passed = failed = 0
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        jobs = {
            (suite, mode): pool.submit(runner.run, suite, mode)
            for suite in suites
            for mode in ("baseline", *modes)
        }
        for suite in suites:
            baseline = jobs[suite, "baseline"].result()
            for mode in modes:
                name = f"{suite} {mode}"
                # What cannot pass over HTTP passes in neither place.
                section_name = f"{suite} {mode.partition('-')[0]}"
                section = set(reasons[section_name]) if section_name in reasons else set()
                counts = compare(name, baseline, jobs[suite, mode].result(), section)
                passed += counts[0]
                failed += counts[1]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        runner.stop()
        pool.shutdown()
        shutil.rmtree(CACHE / "tmp", ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
