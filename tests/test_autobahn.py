"""The verdict on what the Autobahn testsuite found: see conformance/autobahn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "conformance" / "autobahn" / "run.py"
spec = importlib.util.spec_from_file_location("autobahn_run", PATH)
assert spec is not None
assert spec.loader is not None
autobahn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(autobahn)

OK, LAX, WRONG_CODE = ("OK", "OK"), ("NON-STRICT", "OK"), ("OK", "WRONG CODE")


@pytest.mark.parametrize(
    ("ours", "raw", "excused", "problem"),
    [
        (OK, OK, None, None),
        (("INFORMATIONAL", "INFORMATIONAL"), OK, None, None),
        (LAX, LAX, "NON-STRICT", None),
        (OK, LAX, None, None),
        (LAX, LAX, None, "NON-STRICT"),
        (WRONG_CODE, WRONG_CODE, "NON-STRICT", "WRONG CODE"),
        (LAX, OK, "NON-STRICT", "NON-STRICT, and aiohttp alone passes it"),
        (LAX, None, "NON-STRICT", None),
        (LAX, None, None, "NON-STRICT"),
        (OK, LAX, "NON-STRICT", "passes, and is excused for nothing"),
        (None, OK, "NON-STRICT", "was not run"),
    ],
)
def test_a_case_passes_or_is_excused(
    ours: tuple[str, str] | None,
    raw: tuple[str, str] | None,
    excused: str | None,
    problem: str | None,
) -> None:
    """None that aiohttp alone passes may fail, and no excuse may be left over."""
    other = {"1.1.1": OK}

    problems = autobahn.judge(
        "plain",
        {**other, **({"6.4.1": ours} if ours else {})},
        {**other, **({"6.4.1": raw} if raw else {})},
        {"6.4.1": excused} if excused else {},
    )

    assert ([f"plain 6.4.1: {problem}"] if problem else []) == problems


def test_a_run_without_cases_is_no_success() -> None:
    """An empty report is a problem."""
    assert ["plain: no case was run"] == autobahn.judge("plain", {}, {}, {})


def test_each_excuse_has_a_reason() -> None:
    """The file names the behaviour that is excused, and says why."""
    assert {"NON-STRICT"} == set(autobahn.expected().values())
    assert all(":" in line for line in (PATH.parent / "expected.ini").read_text().split("\n6")[1:])
