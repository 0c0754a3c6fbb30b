"""Where the application is mounted: SCRIPT_NAME, and root_path."""

from __future__ import annotations

import json

from .conftest import Start


def test_the_environment_says_where_the_application_is(configured: Start, worker: str) -> None:
    """SCRIPT_NAME is taken from each path, and a path that is not below it is an error."""
    server = configured("raw_env = ['SCRIPT_NAME=/shop']\n", worker=worker)

    environ = json.loads(server.get("/shop/environ"))

    assert ("/shop", "/environ") == (environ["SCRIPT_NAME"], environ["PATH_INFO"])
    assert 500 == server.request("/environ")[0]
