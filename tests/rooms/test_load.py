"""Many members in several workers: each receives each message exactly once, in its order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

COMMAND = Path(__file__).parents[2] / "benchmarks" / "rooms.py"


@pytest.mark.load
@pytest.mark.parametrize("server", ["sockets", "redis"])
def test_each_member_receives_each_message_once_and_in_order(
    server: str, require: Callable[[str], str], runtime: Path
) -> None:
    """The benchmark, smaller: at a fixed rate, and as fast as the messages are taken."""
    if server == "redis":
        require("redis-server")
    size = ["--workers", "4", "--sockets", "200", "--messages", "300", "--paced", "10"]
    command = [sys.executable, str(COMMAND), "--server", server, *size, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True)

    assert 0 == ended.returncode, ended.stderr
    result = json.loads(ended.stdout)
    assert [200, 200] == result["exact members"]
    assert 200 == sum(result["spread"])
    assert len(result["spread"]) > 1
