"""Send gunicorn's own request corpus to this worker and to gthread, and compare.

Each case goes to a real gunicorn three times: whole, byte by byte, and in random pieces. A canary
follows each invalid one: a request that must never be served. Every difference from what a case
says, or from gthread, has a reason in corpus_differences.ini; a reason without a difference fails
the run too.
"""

from __future__ import annotations

import configparser
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

HERE = Path(__file__).parent
CACHE = HERE.parent / "build" / "conformance" / "corpus"
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from corpus_cases import Case, Request, load  # noqa: E402
from harness import Gunicorn  # noqa: E402

WORKERS = ("flask_aiohttp_worker.Worker", "gthread")

# How many groups of cases, those with the same settings, run at the same time.
PARALLEL = 2

# Of 143 in gunicorn 27.0.1.
_FEWEST = 140

# The first word of an answer.
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")

# What gunicorn answers to each error of its parser (workers/base.py); 400 to all others.
STATUSES = {
    "LimitRequestLine": "414",
    "LimitRequestHeaders": "431",
    "UnsupportedTransferCoding": "501",
    "ExpectationFailed": "417",
    "ForbiddenProxyRequest": "403",
}


Sender: TypeAlias = Callable[[bytes, random.Random], Iterable[bytes]]


@dataclass(frozen=True)
class Outcome:
    """What came of a case: the statuses of all answers, and what the application saw."""

    statuses: tuple[str, ...]
    requests: tuple[Request, ...]
    canary: bool


def whole(data: bytes, chance: random.Random) -> Iterable[bytes]:
    """Return one piece."""
    return [data]


def byte_by_byte(data: bytes, chance: random.Random) -> Iterable[bytes]:
    """Return as many pieces as there are bytes."""
    return (data[place : place + 1] for place in range(len(data)))


def random_pieces(data: bytes, chance: random.Random) -> Iterable[bytes]:
    """Return a few pieces of any size."""
    cuts = sorted(chance.sample(range(1, len(data)), min(8, len(data) - 1)))
    return (data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True))


SENDERS: tuple[Sender, ...] = (whole, byte_by_byte, random_pieces)


class Target:
    """One gunicorn, and the file in which its application writes down what it sees.

    Args:
        worker: The worker class.
        settings: The lines of its configuration file.
        folder: For the files.
    """

    def __init__(self, worker: str, settings: str, folder: Path) -> None:
        config, self._record = folder / "config.py", folder / "record.txt"
        config.write_text(settings)
        self._record.touch()
        self._read = 0
        self._gunicorn = Gunicorn(
            "policy_app:record",
            *("--config", str(config), "--threads", "4", "--keep-alive", "5"),
            directory=folder,
            worker=worker,
            env={"POLICY_RECORD": str(self._record)},
        )
        self._gunicorn.wait_until_listening()

    def send(self, case: Case, sender: Sender) -> Outcome:
        """Send a case, and a canary behind an invalid one."""
        canary = b"GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n" if case.error else b""
        chance = random.Random(case.name)  # noqa: S311
        answer = self._gunicorn.talk(*sender(case.data + canary, chance))
        statuses = tuple(status.decode() for status in _STATUS.findall(answer))
        seen = self._seen()
        return Outcome(
            statuses,
            tuple(request for request in seen if request.target != "/canary"),
            any(request.target == "/canary" for request in seen),
        )

    def _seen(self) -> list[Request]:
        """Return what the application has seen since the last time."""
        lines = self._record.read_text().splitlines()
        new, self._read = lines[self._read :], len(lines)
        return [Request.of_facts(json.loads(line)) for line in new]

    def stop(self) -> None:
        """End it."""
        self._gunicorn.kill()


def problems_of(case: Case, outcome: Outcome) -> str:
    """Return what is not as the case says; nothing, if all is."""
    if not case.error:
        if outcome.requests != tuple(case.requests):
            return f"{' '.join(outcome.statuses)}: saw {outcome.requests or 'nothing'}"
        return ""
    expected = STATUSES.get(case.error, "400")
    if outcome.requests or outcome.canary:
        return f"{' '.join(outcome.statuses)}: served"
    if outcome.statuses not in ((expected,), ()):
        return " ".join(outcome.statuses)
    return ""


def run_group(settings: str, cases: list[Case], folder: Path) -> dict[Case, list[list[Outcome]]]:
    """Return the outcomes of each case, by worker and then by sender."""
    targets = []
    for worker in WORKERS:
        place = folder / worker
        place.mkdir(parents=True)
        targets.append(Target(worker, settings, place))
    try:
        return {
            case: [[target.send(case, sender) for sender in SENDERS] for target in targets]
            for case in cases
        }
    finally:
        for target in targets:
            target.stop()


def judge(case: Case, ours: list[Outcome], theirs: list[Outcome]) -> tuple[str, str]:
    """Return how we differ from what the case says, and how from gthread."""
    said = "; ".join(
        f"{sender.__name__}: {problem}"
        for sender, outcome in zip(SENDERS, ours, strict=True)
        if (problem := problems_of(case, outcome))
    )
    other = ""
    if summary(ours[0]) != summary(theirs[0]):
        other = f"{summary(ours[0])}, and gthread {summary(theirs[0])}"
    return said, other


def summary(outcome: Outcome) -> tuple[tuple[str, ...], tuple[Request, ...], bool]:
    """Return what two workers must have in common."""
    return outcome.statuses, outcome.requests, outcome.canary


def main() -> int:
    """Run all cases; return the exit code."""
    reasons = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    reasons.optionxform = str  # type: ignore[assignment, method-assign]
    reasons.read(HERE / "corpus_differences.ini")
    cases = load(download(), CACHE)
    groups = [
        (settings, list(members))
        for settings, members in groupby(
            sorted(cases, key=lambda case: (case.settings, case.name)), lambda case: case.settings
        )
    ]
    failed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(PARALLEL) as pool:
        jobs = [
            pool.submit(run_group, settings, members, Path(folder, str(number)))
            for number, (settings, members) in enumerate(groups)
        ]
        outcomes = {case: outcome for job in jobs for case, outcome in job.result().items()}
    differences = 0
    for case, (ours, theirs) in sorted(outcomes.items(), key=lambda item: item[0].name):
        for section, problem in zip(("corpus", "gthread"), judge(case, ours, theirs), strict=True):
            reason = reasons.get(section, case.name, fallback="")
            differences += bool(problem and reason)
            if (problem and not reason) or (
                reason and not problem and not reason.startswith("sometimes")
            ):
                failed += 1
                print(f"FAILED {section} {case.name}: {problem or 'has a reason for nothing'}")
    print(f"{len(outcomes)} cases, {differences} differences with a reason, {failed} failed")
    return 1 if failed or len(outcomes) < _FEWEST else 0


def download() -> Path:
    """Return the sdist of the gunicorn that is installed."""
    sdist = CACHE / f"gunicorn-{version('gunicorn')}.tar.gz"
    if not sdist.exists():
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--no-binary", ":all:", "--dest", str(CACHE), f"gunicorn=={version('gunicorn')}"),
        ]
        subprocess.run(command, check=True)  # noqa: S603
    return sdist


if __name__ == "__main__":
    sys.exit(main())
