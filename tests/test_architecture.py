"""Who may import whom: the modules form a ladder, and each rule has one place."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the public names down to the errors. A module imports from its own rung and those below.
LADDER: tuple[tuple[str, ...], ...] = (
    ("__init__",),
    ("extension", "testing", "_client_websocket", "_in_process"),
    (
        *("_devserver", "_server", "_service", "_fallback", "_native_log"),
        *("_listener", "_connections", "_drain", "_goodbye"),
    ),
    ("handler", "helper", "rooms"),
    (
        *("_exchange", "_client", "_protocol", "_writer", "_body_input", "_values"),
        *("_chunk_budget", "_head_timer", "_intake", "_proxied", "_refusal"),
        *("_websocket", "_websocket_exchange", "_websocket_options", "_handshake", "_origin"),
        *("_frames", "_opening"),
        *("_disconnected", "_file_wrapper", "_held_body", "_sse", "_routing", "_settings"),
        *("_traffic", "util", "_lifespan", "_state", "_tasks"),
        *("_activity", "_dump", "_pool_watch", "_watch"),
        *("_unread_timer",),
    ),
    ("_waiting", "_background", "_threads", "_crossing", "_loops"),
    ("_stacks", "_seldom"),
    ("_bridge", "_environ", "_policy", "_proxy_protocol", "_start_response"),
    ("exceptions",),
)

# All that the worker uses of the extension. Each private name here is a seam: it cannot change in
# one package alone.
WORKER_USES = {
    "flask_aiohttp.AioHTTP",
    "flask_aiohttp.InvalidApplication",
    "flask_aiohttp.InvalidSetting",
    "flask_aiohttp._environ.Environ",
    "flask_aiohttp._activity.Activity",
    "flask_aiohttp._dump.dump",
    "flask_aiohttp._exchange.Exchange",
    "flask_aiohttp._exchange.NO_STATUS",
    "flask_aiohttp._loops",
    "flask_aiohttp._policy.Addresses",
    "flask_aiohttp._policy.Policy",
    "flask_aiohttp._proxy_protocol.ProxyProtocol",
    "flask_aiohttp._protocol.Protocol",
    "flask_aiohttp._server.Server",
    "flask_aiohttp._settings.AccessLog",
    "flask_aiohttp._settings.NoAccessLog",
    "flask_aiohttp._settings.ServerSettings",
    "flask_aiohttp._start_response.Framing",
    "flask_aiohttp._start_response.Phase",
    "flask_aiohttp._stacks.frames_from",
    "flask_aiohttp._stacks.stack",
}


def modules_of(package: str) -> dict[str, ast.Module]:
    """Return the modules of a package by their full names, parsed."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name] = ast.parse(path.read_text())
    return found


EXTENSION = modules_of("flask_aiohttp")
WORKER = modules_of("flask_aiohttp_worker")
ALL = {**EXTENSION, **WORKER}


def statements(tree: ast.AST, with_types: bool) -> Iterator[ast.AST]:
    """Yield all nodes, without those below ``if TYPE_CHECKING`` unless they are asked for."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        for_types = isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING"
        if with_types or not for_types:
            yield from statements(child, with_types)


def imported(module: str, *, with_types: bool = False) -> set[str]:
    """Return the full names of what a module imports, also inside of functions."""
    package = module.rpartition(".")[0]
    names = set()
    for node in statements(ALL[module], with_types):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {f"{start.rstrip('.')}.{alias.name}" for alias in node.names}
    return names


def imported_modules(module: str) -> set[str]:
    """Return those modules of this project that a module imports."""
    found = set()
    for name in imported(module):
        parent = name.rpartition(".")[0]
        candidates = (name, f"{name}.__init__", parent, f"{parent}.__init__")
        found.add(next((candidate for candidate in candidates if candidate in ALL), module))
    return found - {module}


def importers_of(library: str) -> set[str]:
    """Return the modules that import a library or anything in it, if only for types."""
    return {
        module
        for module in ALL
        if any(
            name == library or name.startswith(f"{library}.")
            for name in imported(module, with_types=True)
        )
    }


def rung(module: str) -> int:
    """Return how far down the ladder a module stands."""
    short = module.removeprefix("flask_aiohttp.").partition(".")[0]
    rungs = [number for number, names in enumerate(LADDER) if short in names]
    assert rungs, f"{module} has no place in LADDER"
    return rungs[0]


def test_each_module_stands_on_one_rung() -> None:
    """A new module is given its place, and one that is gone loses it."""
    names = [name for names in LADDER for name in names]
    present = {module.removeprefix("flask_aiohttp.").partition(".")[0] for module in EXTENSION}

    assert set(names) == present
    assert len(names) == len(present)


@pytest.mark.parametrize("module", EXTENSION)
def test_a_module_imports_from_its_rung_and_below(module: str) -> None:
    """Nothing that is used knows who uses it."""
    above = {other for other in imported_modules(module) if rung(other) < rung(module)}

    assert set() == above


def test_no_modules_import_each_other() -> None:
    """There is no circle, also not through imports inside of functions."""
    remaining = {module: imported_modules(module) for module in ALL}
    while leaves := {module for module, others in remaining.items() if not others}:
        remaining = {
            module: others - leaves for module, others in remaining.items() if module not in leaves
        }

    assert {} == remaining


def test_the_extension_knows_nothing_of_gunicorn() -> None:
    """Nor of the worker: both are built upon it."""
    assert set() == (importers_of("gunicorn") | importers_of("flask_aiohttp_worker")) & {*EXTENSION}


@pytest.mark.parametrize(
    ("library", "only"),
    [
        ("greenlet", {"flask_aiohttp._bridge"}),
        ("setproctitle", {"flask_aiohttp_worker._status"}),
        ("uvloop", {"flask_aiohttp_worker._worker"}),
        ("click", {"flask_aiohttp._devserver"}),
        ("redis", {"flask_aiohttp.rooms._redis"}),
    ],
)
def test_a_library_has_one_module_that_knows_it(library: str, only: set[str]) -> None:
    """Whoever needs what it does asks that module."""
    assert only == importers_of(library)


@pytest.mark.parametrize(
    "module", ["_bridge", "_environ", "_policy", "_proxy_protocol", "_start_response", "exceptions"]
)
@pytest.mark.parametrize("library", ["flask", "werkzeug", "aiohttp"])
def test_the_ground_knows_no_framework(module: str, library: str) -> None:
    """Waiting and the words of WSGI can be read, and tested, alone."""
    assert f"flask_aiohttp.{module}" not in importers_of(library)


@pytest.mark.parametrize(
    "module", ["_environ", "_policy", "_proxy_protocol", "_start_response", "exceptions"]
)
def test_the_words_of_wsgi_do_no_io(module: str) -> None:
    """They turn values into values: nothing that they import opens, sends or waits."""
    allowed = {"__future__", "collections", "dataclasses", "enum", "re", "types", "typing"}
    allowed |= {"functools", "ipaddress", "struct", "urllib", "flask_aiohttp"}

    used = {name.partition(".")[0] for name in imported(f"flask_aiohttp.{module}")}

    assert set() == used - allowed


def test_the_worker_uses_no_more_of_the_extension_than_is_listed() -> None:
    """Public names, and few private ones that change with it."""
    used = {
        name
        for module in WORKER
        for name in imported(module, with_types=True)
        if name.startswith("flask_aiohttp.")
    }

    assert WORKER_USES == used


@pytest.mark.parametrize("module", ALL)
def test_a_module_can_be_read_in_one_sitting(module: str) -> None:
    """No file is longer than 400 lines."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")

    assert 400 >= len(path.read_text().splitlines())
