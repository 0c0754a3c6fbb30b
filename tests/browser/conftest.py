"""One browser for all tests: ``async with connect(chromium) as browser: ...``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from chromium import Chromium


@pytest.fixture(name="chromium", scope="session")
def _chromium(
    require: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chromium]:
    """A real browser, which starts with the first test that asks for it."""
    browser = Chromium(require("chromium"), tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.stop()
