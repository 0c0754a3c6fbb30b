"""Settings without effect are named when a real gunicorn starts."""

from __future__ import annotations

import re

from flask_aiohttp_worker._table import SETTINGS, Who

from .conftest import Start
from .test_table import CHANGED


def test_each_is_named_in_one_line(configured: Start) -> None:
    """With what to do instead; the worker serves all the same."""
    names = [setting.name for setting in SETTINGS.values() if setting.who is Who.NOBODY]
    values = {name: CHANGED.get(name, True) for name in names}
    text = "".join(f"{name} = {value!r}\n" for name, value in values.items())

    server = configured(text)

    assert "sync" == server.get("/sync")
    [line] = re.findall(r"\[WARNING\] Settings without effect under \S+: (.*)\n", server.log)
    named = re.sub(r" \(.*?\)", "", line).replace("; ", ", ").split(", ")
    assert set(names) == set(named)
