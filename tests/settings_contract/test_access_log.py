"""The access log of the same traffic is the same as under gthread, field by field."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from harness import PATIENCE, Gunicorn, eventually, wait_for

from .conftest import Start

# All that a client of these tests sends or is sent, and all strings of the environ.
REQUEST_HEADERS = (
    "host user-agent referer authorization content-type content-length transfer-encoding x-name "
    "x-twice x-forwarded-for x-forwarded-proto script_name accept connection x_under"
)
RESPONSE_HEADERS = (
    "content-type content-length x-own x-twice x-name set-cookie etag location server date "
    "connection transfer-encoding content-disposition last-modified allow"
)
ENVIRON = (
    "request_method query_string raw_uri server_protocol content_type content_length remote_addr "
    "server_name path_info script_name wsgi.url_scheme http_host http_x_twice "
    "http_user_agent wsgi.multithread wsgi.multiprocess wsgi.run_once wsgi.input_terminated "
    "server_software"
)
ATOMS = {
    **{atom: f"%({atom})s" for atom in "hlurmUqHsbBfa"},
    **{f"{name}i": f"%({{{name}}}i)s" for name in REQUEST_HEADERS.split()},
    **{f"{name}o": f"%({{{name}}}o)s" for name in RESPONSE_HEADERS.split()},
    **{f"{name}e": f"%({{{name}}}e)s" for name in ENVIRON.split()},
}
# These differ from request to request; their form is compared.
TIMES = {
    "t": r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]",
    "T": r"0",
    "D": r"\d+",
    "M": r"\d+",
    "L": r"0\.\d{6}",
    "p": r"<\d+>",
}
ALL = {**ATOMS, **{atom: f"%({atom})s" for atom in TIMES}}

CONFIG = f"""
accesslog = "-"
access_log_format = "ACCESS\\t" + {chr(9).join(ALL.values())!r}
"""

LINE = "X-A: 1\r\n"
USUAL = 'Host: example.org:81\r\nUser-Agent: test "quoted"\r\nX-Twice: 1\r\nX-Twice: 2\r\n'

REQUESTS = {
    "sync": f"GET /sync?a=%20b HTTP/1.1\r\n{USUAL}Referer: http://a/\r\n\r\n",
    "async": f"GET /async HTTP/1.1\r\n{USUAL}Accept: */*\r\n\r\n",
    "basic auth": f"GET /sync HTTP/1.1\r\n{USUAL}Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
    "bad auth": f"GET /sync HTTP/1.1\r\n{USUAL}Authorization: Basic !\r\n\r\n",
    "http 1.0": "GET /sync HTTP/1.0\r\n\r\n",
    "streamed 1.0": "GET /stream HTTP/1.0\r\n\r\n",
    "stream": f"GET /stream HTTP/1.1\r\n{USUAL}\r\n",
    "async stream": f"GET /async-stream HTTP/1.1\r\n{USUAL}\r\n",
    "head": f"HEAD /sync HTTP/1.1\r\n{USUAL}\r\n",
    "head of a stream": f"HEAD /stream HTTP/1.1\r\n{USUAL}\r\n",
    "options": f"OPTIONS /sync HTTP/1.1\r\n{USUAL}\r\n",
    "not modified": f'GET /not-modified HTTP/1.1\r\n{USUAL}If-None-Match: "tag"\r\n\r\n',
    "empty": f"GET /empty HTTP/1.1\r\n{USUAL}\r\n",
    "headers": f"GET /headers HTTP/1.1\r\n{USUAL}\r\n",
    "missing": f"GET /m%C3%A4dchen/%22 HTTP/1.1\r\n{USUAL}\r\n",
    "not allowed": f"DELETE /sync HTTP/1.1\r\n{USUAL}\r\n",
    "absolute": f"GET http://example.org/sync?q HTTP/1.1\r\n{USUAL}\r\n",
    "post": f"POST /echo HTTP/1.1\r\n{USUAL}Content-Type: a/b\r\nContent-Length: 4\r\n\r\nbody",
    "chunked": f"POST /echo HTTP/1.1\r\n{USUAL}Transfer-Encoding: chunked\r\n\r\n"
    "4\r\nbody\r\n0\r\n\r\n",
    "unread body": f"POST /sync HTTP/1.1\r\n{USUAL}Content-Length: 4\r\n\r\nbody",
    "memory file": f"GET /memory-file HTTP/1.1\r\n{USUAL}\r\n",
    "file": f"GET /file HTTP/1.1\r\n{USUAL}\r\n",
    "fail": f"GET /fail HTTP/1.1\r\n{USUAL}\r\n",
    "fail later": f"GET /fail-later HTTP/1.1\r\n{USUAL}\r\n",
    "short": f"GET /short HTTP/1.1\r\n{USUAL}\r\n",
    "long": f"GET /long HTTP/1.1\r\n{USUAL}\r\n",
    "raises": f"GET /raises HTTP/1.1\r\n{USUAL}\r\n",
    "proxied": f"GET /sync HTTP/1.1\r\n{USUAL}X-Forwarded-For: 10.1.2.3\r\n\r\n",
    "underscore": f"GET /sync HTTP/1.1\r\n{USUAL}X_Under: a\r\n\r\n",
    "by a proxy": f"GET /below/sync HTTP/1.1\r\n{USUAL}X-Forwarded-Proto: https\r\n"
    "SCRIPT_NAME: /below\r\n\r\n",
    "not below": f"GET /sync HTTP/1.1\r\n{USUAL}SCRIPT_NAME: /below\r\n\r\n",
    "half a body": f"POST /echo HTTP/1.1\r\n{USUAL}Content-Length: 9\r\n\r\nhalf",
    "line too long": f"GET /{5000 * 'a'} HTTP/1.1\r\n{USUAL}\r\n",
    "field too long": f"GET /sync HTTP/1.1\r\n{USUAL}X-Long: {9000 * 'a'}\r\n\r\n",
    "too many fields": f"GET /sync HTTP/1.1\r\n{USUAL}{101 * LINE}\r\n",
    "version": f"GET /sync HTTP/2.0\r\n{USUAL}\r\n",
    "coding": f"POST /echo HTTP/1.1\r\n{USUAL}Transfer-Encoding: unknown\r\n\r\n",
    "no request": "nonsense\r\n\r\n",
    "twice a length": "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n"
    "\r\nab",
}

# How many lines of gthread's are missing, and the atoms that differ. All else is the same.
MISSING = {
    # aiohttp's parser tells nothing of what it refuses. The warning in the error log is all.
    "twice a length": 1,
}
# gunicorn answers in the application's place with an environ that it makes anew, without the
# headers, and does not count its own page. Here it is the request's own environ.
NOT_BY_THE_APPLICATION = {
    *{"U", "b", "B", "a", "content-typeo", "content-lengtho", "server_namee", "path_infoe"},
    *{"script_namee", "wsgi.url_schemee", "http_hoste", "http_x_twicee", "http_user_agente"},
    "wsgi.multithreade",
}
DIFFERENT = {
    # gunicorn counts no bytes that the kernel sends (sendfile).
    "file": {"b", "B"},
    "raises": NOT_BY_THE_APPLICATION,
    "not below": NOT_BY_THE_APPLICATION,
    # Under gthread the application takes the half for the whole.
    "half a body": {"s", "b", "B", "content-typeo", "content-lengtho"},
}

Fields = dict[str, str]


def send(server: Gunicorn, request: str) -> bytes:
    """Send one request on a connection of its own, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(request.encode())
        sock.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while data := sock.recv(1 << 16):
                received += data
        except ConnectionError:
            pass
    return received


def lines(server: Gunicorn) -> list[Fields]:
    """The lines of the access log so far, by atom."""
    found = re.findall(r"^ACCESS\t(.*)\n", server.log, re.MULTILINE)
    return [dict(zip(ALL, line.split("\t"), strict=True)) for line in found]


def traffic(worker: str, directory: Path) -> dict[str, list[Fields]]:
    """Send all requests to a gunicorn with *worker*; return what each one has logged."""
    config = directory / "access.conf.py"
    config.write_text(CONFIG)
    options = ("--config", str(config), "--threads", "4")
    # Werkzeug's Allow is a set: let its order be the same.
    server = Gunicorn(
        *("settings_app:proxied", *options),
        directory=directory,
        worker=worker,
        env={"PYTHONHASHSEED": "0"},
    )
    logged: dict[str, list[Fields]] = {}
    try:
        server.wait_until_listening()
        for name, request in REQUESTS.items():
            before = len(lines(server))
            send(server, request)
            # Another request has been logged: then so has this one, or it never will be.
            send(server, f"GET /sync?after HTTP/1.1\r\nHost: {name.replace(' ', '-')}\r\n\r\n")
            wait_for(
                lambda: any(line["q"] == "after" for line in lines(server)[before:]),  # noqa: B023
                f"the line after {name}:\n{server.log}",
            )
            logged[name] = [line for line in lines(server)[before:] if line["q"] != "after"]
    finally:
        server.kill()
    return logged


async def test_a_websocket_is_one_line_at_its_end(configured: Start) -> None:
    """With the status 101, the bytes of the messages that were sent, and all of its time."""
    server = configured("accesslog = '-'\naccess_log_format = 'LINE %(r)s %(s)s %(B)s %(L)s'\n")

    started = time.monotonic()
    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        for text in ("one", "three"):
            await ws.send_str(text)
            await ws.receive_str()
        opened = time.monotonic()
        early = server.log.count("LINE")
        await asyncio.sleep(0.05)
        least = time.monotonic() - opened
    [(line, seconds)] = await eventually(
        lambda: re.findall(r"^LINE (.*) (\d+\.\d+)\n", server.log, re.M), "the line"
    )

    assert 0 == early
    assert "GET /ws HTTP/1.1 101 8" == line
    assert least <= float(seconds) <= time.monotonic() - started


@pytest.fixture(name="logs", scope="module")
def _logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """What gthread and this worker log of all requests."""
    return (
        traffic("gthread", tmp_path_factory.mktemp("gthread")),
        traffic("flask_aiohttp_worker.Worker", tmp_path_factory.mktemp("ours")),
    )


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_logged_as_under_gthread(logs: tuple[dict, dict], name: str) -> None:
    """Each atom of each line says the same; the exceptions are listed with their reasons."""
    theirs, ours = (log[name] for log in logs)

    for line in (*theirs, *ours):
        for atom, form in TIMES.items():
            assert re.fullmatch(form, line[atom]), atom
    assert MISSING.get(name, 0) == len(theirs) - len(ours)
    for their, our in zip(theirs, ours, strict=name not in MISSING):
        found = {atom: (their[atom], our[atom]) for atom in ATOMS if their[atom] != our[atom]}
        assert DIFFERENT.get(name, set()) == set(found), found
