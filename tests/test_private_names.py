"""What this project takes from its dependencies without their word that it stays.

A new version of a dependency that breaks one of these is noticed here, by name, and not in some
server's log.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from aiohttp import StreamReader, http_parser, http_websocket, web
from aiohttp.http_exceptions import LineTooLong
from flask import globals as flask_globals
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.message import Message
from gunicorn.http.message import Request as GunicornRequest
from gunicorn.http.wsgi import Response as GunicornResponse
from gunicorn.http.wsgi import WSGIErrorsWrapper
from gunicorn.sock import ssl_context
from gunicorn.workers import base
from werkzeug import _reloader
from werkzeug.routing import Map, MapAdapter

from flask_aiohttp._fallback import Fallback
from flask_aiohttp._in_process import _PairConnector
from flask_aiohttp._opening import OpeningWebSocket
from flask_aiohttp._protocol import Protocol
from flask_aiohttp._routing import _BothSchemes
from flask_aiohttp._tasks import _FLASK_VARIABLES
from flask_aiohttp._websocket import WebSocket
from flask_aiohttp._writer import SentResponse
from flask_aiohttp.testing import FlaskAioHTTPClient, TestServer
from flask_aiohttp_worker import Worker
from flask_aiohttp_worker._message import Request, Response

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for package in ("flask_aiohttp", "flask_aiohttp_worker")
    for path in sorted((ROOT / package).rglob("*.py"))
]

# Names with an underscore that are taken from elsewhere. The reloader is pinned below; the others
# are documented by those who have them (Python's two in the documentation of sys).
PRIVATE_IMPORTS = {"werkzeug._reloader", "_typeshed.WriteableBuffer"}
PRIVATE_METHODS = {"_create_connection", "_make_runner"}  # abstract, meant to be overridden
PRIVATE_ATTRIBUTES = {
    *("_get_args_for_reloading", "_get_current_object"),
    *("_current_frames", "_getframe"),
}
# Nothing else tells when a request's head begins and ends.
PRIVATE_ATTRIBUTES |= {"_request_count", "_waiter"}
# Nor since when a connection has been idle.
PRIVATE_ATTRIBUTES |= {"_keepalive_timeout", "_next_keepalive_close_time"}
# Nor whether the parser holds back a part of what it was given.
PRIVATE_ATTRIBUTES |= {"_reading_paused"}
# Set on our own class to what aiohttp sets it to: nothing else lets go of the parser of requests
# where none comes any more.
LET_GO = {"_parser"}

# Our classes that stand on those of dependencies.
SUBCLASSES = [
    *(FlaskAioHTTPClient, Fallback, OpeningWebSocket, Protocol, SentResponse, TestServer),
    *(WebSocket, Worker),
    *(_BothSchemes, _PairConnector),
]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_on_self(code: str) -> set[str]:
    return set(re.findall(r"\bself\.(\w+)", code))


def set_on_self(code: str) -> set[str]:
    return set(re.findall(r"\bself\.(\w+)(?:: [^=\n]+)? = ", code))


def source_of_bases(cls: type) -> str:
    """Return the code of all classes of dependencies that *cls* inherits from."""
    libraries = ("aiohttp", "flask", "gunicorn", "werkzeug")
    bases = [each for each in cls.__mro__ if each.__module__.partition(".")[0] in libraries]
    return "\n".join(map(inspect.getsource, bases))


def test_no_other_private_name_is_taken_from_a_dependency() -> None:
    """Each exception is listed above, with its reason."""
    imports, attributes, own = set(), set(), set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                imports |= {name for name in names if any(map(is_private, name.split(".")))}
            elif isinstance(node, ast.Attribute) and is_private(node.attr):
                (own if isinstance(node.ctx, ast.Store) else attributes).add(node.attr)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)

    ours = {name for name in imports if name.startswith("flask_aiohttp.")}
    assert PRIVATE_IMPORTS == imports - ours
    assert PRIVATE_ATTRIBUTES == attributes - own


def test_werkzeugs_reloader_is_called_with_what_it_takes() -> None:
    """``aio.run()`` uses two of its functions, and relies on a variable and an exit code."""
    inspect.signature(_reloader.run_with_reloader).bind(print)
    inspect.signature(_reloader._get_args_for_reloading).bind()

    code = inspect.getsource(_reloader)
    assert "main_func" == next(iter(inspect.signature(_reloader.run_with_reloader).parameters))
    assert 'os.environ.get("WERKZEUG_RUN_MAIN") == "true"' in code
    assert "sys.exit(3)" in code


def test_werkzeugs_map_adapter_is_made_of_what_it_keeps() -> None:
    """``_BothSchemes`` copies one: eight arguments in this order, each an attribute."""
    parameters = list(inspect.signature(MapAdapter).parameters)
    adapter = Map().bind("example.org")

    assert [
        "map",
        "server_name",
        "script_name",
        "subdomain",
        "url_scheme",
        "path_info",
        "default_method",
        "query_args",
    ] == parameters
    assert [] == [name for name in [*parameters, "websocket"] if not hasattr(adapter, name)]


async def test_aiohttps_connection_counts_heads_and_waits_for_them() -> None:
    """``HeadTimer`` reads both: one counts whole heads, the other is there between two."""

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    connection: Any = web.RequestHandler(web.Server(handler), loop=asyncio.get_running_loop())
    connection.connection_made(mock.Mock(is_closing=lambda: False))
    await asyncio.sleep(0)
    seen = []
    for data in (b"GET / HTTP/1.1\r\n", b"Host: x\r\n\r\n"):
        connection.data_received(data)
        seen.append((connection._request_count, connection._waiter.done()))
    connection.force_close()
    await asyncio.sleep(0)

    assert [(0, False), (1, True)] == seen


async def test_aiohttps_connection_can_be_without_its_parser() -> None:
    """``Protocol`` lets go of it where a websocket begins, as aiohttp does with the connection."""
    manager: Any = mock.Mock()
    connection: Any = web.RequestHandler(manager, loop=asyncio.get_running_loop())
    connection.connection_made(mock.Mock(is_closing=lambda: False))
    before = connection._parser
    connection.connection_lost(None)

    assert before is not None
    assert connection._parser is None


async def test_aiohttp_knows_since_when_a_connection_is_idle() -> None:
    """``Protocol.idle_since`` counts back from the time at which aiohttp would close it."""

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    loop = asyncio.get_running_loop()
    before = loop.time()
    connection = Protocol(web.Server(handler), loop=loop, server="x", head_timeout=60)
    connection.connection_made(mock.Mock(is_closing=lambda: False))
    await asyncio.sleep(0)
    idle = connection.idle_since
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    busy = connection.idle_since
    connection.force_close()
    await asyncio.sleep(0)

    assert idle is not None
    assert before <= idle <= loop.time()
    assert busy is None


async def test_aiohttps_server_holds_what_its_connections_read() -> None:
    """``Protocol`` is made without ``web.Server.__call__``, which would pass the same."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    manager = web.Server(handler)
    read = set(re.findall(r"\bmanager\.(\w+)", inspect.getsource(web.RequestHandler.__init__)))

    assert {"request_handler", "request_factory"} == read
    assert handler is manager.request_handler
    assert callable(manager.request_factory)
    assert web.RequestHandler(manager, loop=asyncio.get_running_loop()).peername is None


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (web.RequestHandler, "peername sockname ssl_context writing_paused transport close"),
        (web.RequestHandler, "connection_made connection_lost data_received eof_received"),
        (web.RequestHandler, "keep_alive force_close"),
        (web.BaseRequest, "raw_path raw_headers protocol transport writer content keep_alive"),
        (StreamReader, "is_eof at_eof exception read read_nowait"),
        (web.StreamResponse, "prepared keep_alive body_length prepare write_eof"),
        (web.UrlDispatcher, "register_resource resources"),
        (http_parser, "HttpRequestParser HttpRequestParserPy"),
        (http_websocket, "WSMessageDecodeText"),
    ],
)
def test_aiohttp_has_what_its_documentation_leaves_out(owner: Any, names: str) -> None:
    """Some of it is described for users, some is not; all of it is read here."""
    assert [] == [name for name in names.split() if not hasattr(owner, name)]


def test_a_connection_of_aiohttps_takes_the_settings_of_a_server() -> None:
    """A name it does not know would be dropped with a warning, and the limit with it."""
    options = "logger access_log auto_decompress keepalive_timeout lingering_time"
    limits = "max_line_size max_field_size max_headers"
    known = inspect.signature(web.RequestHandler).parameters

    assert [] == [name for name in f"{options} {limits}".split() if name not in known]


def test_gunicorn_is_called_with_what_it_takes() -> None:
    """Its functions for workers are not documented beyond its own."""
    inspect.signature(ssl_context).bind(Config())
    inspect.signature(WSGIErrorsWrapper).bind(Config())

    parameters = list(inspect.signature(Logger.access).parameters)
    assert ["self", "resp", "req", "environ", "request_time"] == parameters
    assert hasattr(Logger, "access_log_enabled")


@pytest.mark.parametrize(
    ("ours", "theirs", "internal"),
    [
        (
            Request,
            (GunicornRequest, Message),
            "cfg get_data limit_request_field_size limit_request_fields limit_request_line "
            "max_buffer_headers must_close parse parse_headers parse_request_line "
            "proxy_protocol_access_check read_bytes read_into read_line req_number "
            "set_body_reader unreader",
        ),
        (
            Response,
            (GunicornResponse,),
            "can_sendfile cfg close default_headers is_chunked must_close process_headers req "
            "send_headers sendfile sock start_response upgrade version write write_file",
        ),
    ],
)
def test_gunicorns_hooks_are_given_what_they_know(
    ours: type, theirs: tuple[type, ...], internal: str
) -> None:
    """Requests and answers have what gunicorn's have, but for what only reads and writes them."""

    def public_names(*classes: type) -> set[str]:
        found = set_on_self("".join(map(inspect.getsource, classes)))
        found |= {name for cls in classes for name in vars(cls)}
        return {name for name in found if not name.startswith("_")}

    assert set(internal.split()) == public_names(*theirs) - public_names(ours)


@pytest.mark.parametrize("cls", SUBCLASSES)
def test_an_overridden_method_takes_what_the_inherited_one_takes(cls: type) -> None:
    """Whoever calls the one gets the other."""
    differing = []
    for name, ours in vars(cls).items():
        theirs = getattr(cls.__mro__[1], name, None)
        if name.startswith("__") or not (inspect.isfunction(ours) and inspect.isfunction(theirs)):
            continue
        parameters = inspect.signature(ours).parameters
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        if not takes_all and list(parameters) != list(inspect.signature(theirs).parameters):
            differing.append(name)

    assert [] == differing


@pytest.mark.parametrize("cls", SUBCLASSES)
def test_no_attribute_of_ours_hides_an_inherited_one(cls: type) -> None:
    """Two owners of one attribute would overwrite each other's."""
    ours = set_on_self(inspect.getsource(cls)) | {*vars(cls)} - {"_abc_impl"}
    inherited = set_on_self(source_of_bases(cls)) | set(dir(cls.__mro__[1]))

    hidden = {name for name in ours & inherited if is_private(name)}
    assert set() == hidden - PRIVATE_METHODS - LET_GO


def test_gunicorns_worker_has_what_ours_uses_of_it() -> None:
    """Attributes and methods that this project's worker reads and does not make itself."""
    ours = textwrap.dedent(inspect.getsource(Worker))
    theirs = names_on_self(inspect.getsource(base.Worker)) | set(dir(base.Worker))

    used = names_on_self(ours) - set_on_self(ours) - set(vars(Worker))
    assert {"PIPE", "alive", "app", "cfg", "log", "notify", "ppid", "sockets"} <= theirs
    assert set() == used - theirs


def test_flasks_context_variables_have_the_names_that_tasks_leave_out() -> None:
    """A task sees each variable of its request except these."""
    variables = [value for value in vars(flask_globals).values() if isinstance(value, ContextVar)]

    assert _FLASK_VARIABLES == {variable.name for variable in variables}


def test_aiohttps_errors_tell_which_limit_was_passed() -> None:
    """Its parser answers 400 to all of them; gunicorn has 414 and 431."""
    source = Path(http_parser.__file__).with_name("_http_parser.pyx").read_text()

    assert 5 == LineTooLong(b"x", 5).args[1]
    assert 'BadHttpMessage("Too many headers received")' in source
    assert "pyparser._max_line_size)" in source
    assert "pyparser._max_field_size)" in source
