"""A request becomes the WSGI environ that PEP 3333 asks for and gunicorn would build."""

from __future__ import annotations

import io
import sys
from typing import Any
from wsgiref.validate import check_environ

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create

from flask_aiohttp._environ import (
    Reading,
    build_environ,
    connection_environ,
    is_websocket_upgrade,
    mount,
)
from flask_aiohttp._policy import Names, Policy, RequestRefused

BASE = {
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.input": io.BytesIO(),
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    "SCRIPT_NAME": "",
}


def environ_of(*headers: tuple[bytes, bytes], **facts: Any) -> dict[str, Any]:
    """Build the environ of a GET request, with other facts where they are given."""
    peer = facts.pop("peer", ("192.0.2.1", 4711))
    server = facts.pop("server", ("192.0.2.2", 80))
    base = {**facts.pop("base", BASE), "SCRIPT_NAME": facts.pop("script_name", "")}
    names = Names(Policy(**facts.pop("policy", {})), trusted=facts.pop("trusted", False))
    environ = build_environ(
        Reading(connection_environ(base, peer, server), names),
        **{"method": "GET", "target": "/", "version": (1, 1), "headers": headers, **facts},
    )
    mount(environ)
    return environ


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a/b?c=d", "/a/b", "c=d"),
        ("/a?b?c", "/a", "b?c"),
        ("/?", "/", ""),
        ("/a%20b", "/a b", ""),
        ("/a%2Fb%3Fc%23d", "/a/b?c#d", ""),
        ("/a+b;c=d", "/a+b;c=d", ""),
        ("/%zz%4", "/%zz%4", ""),
        ("/a%00b", "/a\0b", ""),
        ("/caf%C3%A9", "/caf\xc3\xa9", ""),
        ("/caf\xc3\xa9", "/caf\xc3\xa9", ""),
        ("/caf\xc3\xa9%20\xff", "/caf\xc3\xa9 \xff", ""),
        ("/?%41=%C3%A9&b=\xc3\xa9", "/", "%41=%C3%A9&b=\xc3\xa9"),
        ("/a#b?c", "/a", ""),
        ("/a?b#c", "/a", "b"),
        ("//example.org/a", "//example.org/a", ""),
        ("/http://example.org/a", "/http://example.org/a", ""),
        ("/a?to=http://example.org/b", "/a", "to=http://example.org/b"),
        ("http://example.org/a/b?c=d", "/a/b", "c=d"),
        ("http://user@[2001:db8::1]:80/a", "/a", ""),
        ("http://example.org", "/", ""),
        ("http://example.org?a=/b/c", "/", "a=/b/c"),
        ("http://example.org#/b", "/", ""),
        ("http://example.org/?to=http://other/b", "/", "to=http://other/b"),
    ],
)
def test_a_target_becomes_a_path_and_a_query(target: str, path: str, query: str) -> None:
    """Only the path is decoded, to one character a byte; the whole target is kept beside it."""
    environ = environ_of(target=target)

    assert path == environ["PATH_INFO"]
    assert query == environ["QUERY_STRING"]
    assert target == environ["RAW_URI"] == environ["REQUEST_URI"]
    check_environ(environ)


@pytest.mark.parametrize(("method", "target"), [("OPTIONS", "*"), ("CONNECT", "example.org:443")])
def test_a_target_without_a_path_is_left_as_it_is(method: str, target: str) -> None:
    """The asterisk and the authority form have no path to be found."""
    environ = environ_of(method=method, target=target)

    assert (method, target) == (environ["REQUEST_METHOD"], environ["PATH_INFO"])


@pytest.mark.parametrize(
    ("mounted", "target", "script_name", "path"),
    [
        ("/shop", "/shop", "/shop", ""),
        ("/shop", "/shop/", "/shop", "/"),
        ("/shop", "/shop/a%20b?c", "/shop", "/a b"),
        ("/shop", "http://example.org/shop/a", "/shop", "/a"),
        ("/shop/", "/shop/a", "/shop", "/a"),
        ("/", "/shop/a", "", "/shop/a"),
        ("", "/shop/a", "", "/shop/a"),
    ],
)
def test_a_mounted_application_sees_the_path_below_its_own(
    mounted: str, target: str, script_name: str, path: str
) -> None:
    """SCRIPT_NAME and PATH_INFO together are the path that was asked for."""
    environ = environ_of(target=target, script_name=mounted)

    assert (script_name, path) == (environ["SCRIPT_NAME"], environ["PATH_INFO"])
    check_environ(environ)


@pytest.mark.parametrize("target", ["/", "/other", "/shopping", "/shop-admin/a", "/SHOP/a"])
def test_a_path_elsewhere_is_not_served_by_a_mounted_application(target: str) -> None:
    """A path that only begins with the same letters is another path."""
    with pytest.raises(RequestRefused, match="not below SCRIPT_NAME '/shop'"):
        environ_of(target=target, script_name="/shop")


def test_headers_become_variables() -> None:
    """Each has a variable of its own, whatever the case of its name; bytes become latin-1."""
    environ = environ_of(
        (b"Host", b"example.org"),
        (b"X-REQUEST-ID", b"caf\xc3\xa9"),
        (b"accept", b""),
        (b"content-type", b"text/plain"),
        (b"CONTENT-LENGTH", b"3"),
        method="POST",
    )

    assert "example.org" == environ["HTTP_HOST"]
    assert "caf\xc3\xa9" == environ["HTTP_X_REQUEST_ID"]
    assert "" == environ["HTTP_ACCEPT"]
    assert ("text/plain", "3") == (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"])
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(environ)
    check_environ(environ)


def test_repeated_headers_become_one_list() -> None:
    """The values are joined with commas, in their order, however the names are written."""
    environ = environ_of(
        (b"X-Forwarded-For", b"192.0.2.7"), (b"Via", b"a"), (b"x-forwarded-for", b"192.0.2.8, c")
    )

    assert "192.0.2.7,192.0.2.8, c" == environ["HTTP_X_FORWARDED_FOR"]
    assert "a" == environ["HTTP_VIA"]


@pytest.mark.parametrize(
    "name",
    [b"X_Forwarded_For", b"Content_Length", b"X-Forwarded_For", b"_", b"Proxy", b"PROXY", b"proxy"],
)
def test_a_header_that_could_pass_for_something_else_is_dropped(name: bytes) -> None:
    """An underscore would make two names one, and HTTP_PROXY is taken for a setting."""
    before = environ_of((b"X-Forwarded-For", b"192.0.2.7"))

    assert before == environ_of((b"X-Forwarded-For", b"192.0.2.7"), (name, b"evil"))


@pytest.mark.parametrize(
    "name",
    [
        b"Request-Method",
        b"Remote-Addr",
        b"Remote-User",
        b"Server-Name",
        b"Script-Name",
        b"Path-Info",
        b"wsgi.url-scheme",
        b"wsgi.input",
        b"Http-Host",
        b"Proxy-",
    ],
)
def test_no_header_lands_in_a_variable_of_the_server(name: bytes) -> None:
    """What a client sends is found under HTTP_ and nowhere else."""
    before = environ_of()
    after = environ_of((name, b"evil"))

    [added] = set(after) - set(before)
    assert added.startswith("HTTP_")
    assert "evil" == after.pop(added)
    assert before == after


def test_names_that_clients_invent_do_not_fill_the_memory() -> None:
    """The table of known names is bounded; names beyond it are mapped all the same."""
    names = Names(Policy(), trusted=False)
    headers = [(b"X-Invented-%d" % number, b"value") for number in range(2000)]

    environ = build_environ(
        Reading(BASE, names), method="GET", target="/", version=(1, 1), headers=headers
    )

    assert "value" == environ["HTTP_X_INVENTED_1999"]
    assert 1024 == len(names.known)
    assert {b"Cookie", b"cookie", b"X-Forwarded-For"} <= names.known.keys()


def test_long_names_do_not_fill_the_memory() -> None:
    """They are mapped each time."""
    names = Names(Policy(), trusted=False)
    known = len(names.known)

    assert "HTTP_" + "X" * 4000 == names[b"x" * 4000]
    assert known == len(names.known)


@pytest.mark.parametrize(
    ("peer", "address", "port"),
    [
        (("192.0.2.1", 4711), "192.0.2.1", "4711"),
        (("2001:db8::1", 4711, 0, 0), "2001:db8::1", "4711"),
        ("", "", None),
        (None, "", None),
        (b"\0abstract", "", None),
    ],
)
def test_the_client_is_named(peer: object, address: str, port: str | None) -> None:
    """A client behind a Unix socket has no address and no port."""
    environ = environ_of(peer=peer)

    assert (address, port) == (environ["REMOTE_ADDR"], environ.get("REMOTE_PORT"))


@pytest.mark.parametrize(
    ("server", "host", "scheme", "expected"),
    [
        (("192.0.2.2", 8000), b"example.org", "http", ("192.0.2.2", "8000")),
        (("2001:db8::2", 8000, 0, 0), b"example.org", "http", ("2001:db8::2", "8000")),
        ("/run/app.sock", b"example.org", "http", ("example.org", "80")),
        ("/run/app.sock", b"example.org", "https", ("example.org", "443")),
        ("/run/app.sock", b"example.org:8443", "https", ("example.org", "8443")),
        ("/run/app.sock", b"[2001:db8::2]", "http", ("[2001:db8::2]", "80")),
        ("/run/app.sock", b"[2001:db8::2]:8000", "http", ("[2001:db8::2]", "8000")),
        ("", b"example.org", "http", ("example.org", "80")),
        (b"\0abstract", b"example.org", "http", ("example.org", "80")),
        ("/run/app.sock", None, "http", ("localhost", "80")),
    ],
)
def test_the_server_is_named(
    server: object, host: bytes | None, scheme: str, expected: tuple[str, str]
) -> None:
    """A Unix socket has no name and no port: there the Host header tells."""
    headers = () if host is None else ((b"Host", host),)

    environ = environ_of(*headers, server=server, base={**BASE, "wsgi.url_scheme": scheme})

    assert expected == (environ["SERVER_NAME"], environ["SERVER_PORT"])


@pytest.mark.parametrize(("version", "protocol"), [((1, 1), "HTTP/1.1"), ((1, 0), "HTTP/1.0")])
def test_the_protocol_is_the_requests(version: tuple[int, int], protocol: str) -> None:
    """SERVER_PROTOCOL is what the client speaks."""
    assert protocol == environ_of(version=version)["SERVER_PROTOCOL"]


def test_each_request_has_an_environ_of_its_own() -> None:
    """What an application writes into it is not seen by the next request."""
    base = dict(BASE)
    environ_of((b"Accept", b"*/*"), base=base)["werkzeug.request"] = "first"

    assert base == BASE
    assert not {"werkzeug.request", "HTTP_ACCEPT"} & set(environ_of(base=base))


# Requests that gunicorn and this server must read alike.
REQUESTS = [
    b"GET / HTTP/1.1",
    b"GET /a%20b/%C3%A9?c=d&e=%20 HTTP/1.1",
    b"GET //a//b?c HTTP/1.0",
    b"GET http://example.org/a?b HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET / HTTP/1.1\r\nAccept: a\r\nACCEPT: b\r\nX_Y: c\r\nX-Y: d",
    b"GET / HTTP/1.1\r\nCookie: a=b\r\nCookie: c=d\r\nX: caf\xe9\r\nEmpty: ",
    b"PUT /a HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 0",
]


@pytest.mark.parametrize("server", [("192.0.2.2", 8000), "/run/app.sock"], ids=["tcp", "unix"])
@pytest.mark.parametrize("raw", REQUESTS)
def test_a_request_reads_as_in_gunicorn(raw: bytes, server: Any) -> None:
    """What gunicorn's own workers put into the environ is there, with the same values."""
    client = ("192.0.2.1", 4711) if isinstance(server, tuple) else ""
    raw += b"\r\nHost: example.org:8000"
    request = next(RequestParser(Config(), iter([raw, b"\r\n\r\n"]), client))
    _, theirs = create(request, None, client, server, Config())
    # Of one worker or one connection, not of the request.
    theirs = {
        name: value
        for name, value in theirs.items()
        if not name.startswith(("wsgi.", "gunicorn.")) and name != "SERVER_SOFTWARE"
    }
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    pairs = [line.encode("latin-1").split(b": ", 1) for line in lines]

    ours = build_environ(
        Reading(
            connection_environ({"wsgi.url_scheme": "http", "SCRIPT_NAME": ""}, client, server),
            Names(Policy(), trusted=client == ""),
        ),
        method=method,
        target=target,
        version=(1, int(version[-1])),
        headers=[(name, value) for name, value in pairs],
    )

    assert theirs == {name: ours[name] for name in theirs}
    assert {"REQUEST_URI", "wsgi.url_scheme"} == set(ours) - set(theirs)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"}, True),
        ({"HTTP_UPGRADE": "WebSocket", "HTTP_CONNECTION": "keep-alive, Upgrade"}, True),
        ({"HTTP_UPGRADE": " websocket ", "HTTP_CONNECTION": "upgrade ,close"}, True),
        ({"HTTP_UPGRADE": "websocket"}, False),
        ({"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "keep-alive"}, False),
        ({"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "no-upgrade"}, False),
        ({"HTTP_UPGRADE": "h2c", "HTTP_CONNECTION": "Upgrade"}, False),
        ({"HTTP_CONNECTION": "Upgrade"}, False),
        ({}, False),
    ],
)
def test_a_websocket_is_asked_for_with_two_headers(headers: dict[str, str], expected: bool) -> None:
    """Upgrade names it and Connection says that Upgrade is meant (RFC 6455, section 4.1)."""
    assert expected is is_websocket_upgrade(headers)


@pytest.mark.parametrize("name", [b"X", b"X-Longer", b"x" * 64, b"x" * 65, b"x" * 3000])
def test_a_header_line_has_a_limit(name: bytes) -> None:
    """Name and value count together, with ": " and the line's end."""
    limit = 4000
    fits = b"y" * (limit - len(name) - 4)
    names = Names(Policy(max_field=limit), trusted=False)

    def build(value: bytes) -> dict[str, Any]:
        return build_environ(
            Reading(BASE, names),
            method="GET",
            target="/",
            version=(1, 1),
            headers=[(name, value)],
        )

    for _ in range(2):
        assert fits.decode() in build(fits).values()
        with pytest.raises(RequestRefused, match="too large") as caught:
            build(fits + b"y")
        assert caught.value.status.startswith("431 ")
