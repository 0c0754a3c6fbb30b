"""Write docs/settings.rst from the table that the worker itself reads: ``make docs``."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from gunicorn.config import KNOWN_SETTINGS

from flask_aiohttp_worker._table import SETTINGS, Who

PAGE = Path(__file__).with_name("settings.rst")

INTRODUCTION = """\
gunicorn's settings under this worker
=====================================

Every setting of gunicorn's, in the order of `its own documentation
<https://gunicorn.org/reference/settings/>`__, which tells what each means. The second column says
who honours it: gunicorn, what all workers inherit from it, or this worker. A setting **without
effect** that is changed from its default is named in one warning at the start, and again after a
HUP; one that is **refused** ends gunicorn at the start.

This page is made from the table that the worker reads: ``make docs``.
"""

WHO = {
    Who.GUNICORN: "gunicorn",
    Who.BASE: "base worker",
    Who.WORKER: "this worker",
    Who.NOBODY: "**no effect**",
    Who.REFUSED: "**refused**",
}


def page() -> str:
    """Return the whole page."""
    settings = sorted(KNOWN_SETTINGS, key=lambda setting: (setting.section, setting.order))
    parts = [INTRODUCTION]
    for section, members in groupby(settings, key=lambda setting: setting.section):
        parts.append(f"{section}\n{'-' * len(section)}\n")
        parts.append(".. list-table::\n   :header-rows: 1\n   :widths: 30 15 55\n")
        rows = ["   * - Setting\n     - Who\n     - How\n"]
        for member in members:
            ours = SETTINGS[member.name]
            rows.append(f"   * - ``{ours.name}``\n     - {WHO[ours.who]}\n     - {ours.how}\n")
        parts.append("".join(rows))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
