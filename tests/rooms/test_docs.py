"""What docs/rooms.rst shows stands in the README, whose examples are run."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from flask_aiohttp.rooms import Stats

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rooms.rst").read_text()
README = (ROOT / "README.rst").read_text()


def test_each_view_of_the_page_is_one_of_the_readme() -> None:
    """Which are served in a test."""
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", PAGE)
    views = [view for block in blocks for view in re.split(r"\n\n(?=    @)", block) if "@" in view]
    views = [view.strip("\n") for view in views if view.lstrip().startswith("@app.")]

    assert len(views) == 3
    assert [] == [view for view in views if view not in README]


def test_the_page_names_each_figure() -> None:
    """And no other."""
    sentence = PAGE.partition("What this worker's rooms have and did:")[2].partition(".\n")[0]

    assert [field.name for field in fields(Stats)] == re.findall(r"``(\w+)``", sentence)
