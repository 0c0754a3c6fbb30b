"""Requests that can be understood in two ways are refused, and strangers are not believed."""

from __future__ import annotations

from typing import Any

import pytest

from flask_aiohttp._policy import Addresses, Names, Policy, RequestRefused, check, scheme_of


def status_of(
    *headers: tuple[str, str],
    method: str = "GET",
    target: str = "/",
    version: tuple[int, int] = (1, 1),
    **policy: Any,
) -> str:
    """Return what a request is refused with; nothing, if it is served."""
    environ = {"REQUEST_METHOD": method, "RAW_URI": target, "HTTP_HOST": "example.org"}
    try:
        check(Policy(**policy), {**environ, **dict(headers)}, version)
    except RequestRefused as refused:
        return refused.status[:3]
    return ""


@pytest.mark.parametrize(
    "host",
    [
        *("example.org", "example.org:8000", "EXAMPLE.org.", "192.0.2.1:80", "localhost:"),
        *("[::1]", "[2001:db8::1]:443", "my_service:5000", "xn--caf-dma.example", "a%20b"),
    ],
)
def test_host_is_a_name_and_perhaps_a_port(host: str) -> None:
    """RFC 9110, section 7.2; names of containers have underscores."""
    assert "" == status_of(("HTTP_HOST", host))


@pytest.mark.parametrize(
    "host",
    [
        *("", "user@example.org", "user:pw@example.org", "example.org/admin", "a, b", "a,b"),
        *("a b", "a?b", "a#b", "a\\b", "[::1", "::1", "[::1]x", "a:b", "a:80:80", "a:123456"),
        *("caf\xe9.example", "a\x9bb", "http://example.org", "a%zz", "[fe80::1%25eth0]", "a:-1"),
    ],
)
def test_any_other_host_is_refused(host: str) -> None:
    """What a proxy, a cache and an application would read differently."""
    assert "400" == status_of(("HTTP_HOST", host))


def test_http_1_0_needs_no_host() -> None:
    """The parser asks for one in HTTP/1.1."""
    check(Policy(), {"REQUEST_METHOD": "GET", "RAW_URI": "/"}, (1, 0))


@pytest.mark.parametrize(
    ("value", "status"),
    [
        *(("chunked", ""), ("Chunked", ""), ("gzip, chunked", ""), ("identity,\tchunked", "")),
        *(("", "400"), (",", "400"), ("chunked,", "400"), (", chunked", "400")),
        *(("identity", "400"), ("gzip", "400"), ("chunked, gzip", "400")),
        *(("chunked, chunked", "400"), ("chunked, identity, chunked", "400")),
        *(
            ("xchunked", "501"),
            ("chunked;q=1", "501"),
            ("br, chunked", "501"),
            ("\x0bchunked", "501"),
        ),
    ],
)
def test_a_transfer_coding_is_known_and_chunked_comes_last(value: str, status: str) -> None:
    """RFC 9112, section 6.1: anything else frames the body for others only."""
    assert status == status_of(("HTTP_TRANSFER_ENCODING", value))


@pytest.mark.parametrize("value", ["chunked", "gzip, chunked", ""])
def test_http_1_0_has_no_transfer_codings(value: str) -> None:
    """RFC 9112, section 6.1: their framing is faulty."""
    assert "400" == status_of(("HTTP_TRANSFER_ENCODING", value), version=(1, 0))


@pytest.mark.parametrize(
    ("version", "status"), [((1, 1), ""), ((1, 0), ""), ((0, 9), "400"), ((2, 0), "400")]
)
def test_only_http_1_is_spoken(version: tuple[int, int], status: str) -> None:
    """The parser takes other numbers for the same language."""
    assert status == status_of(version=version)


def test_other_versions_can_be_permitted() -> None:
    """gunicorn's permit_unconventional_http_version."""
    assert "" == status_of(version=(2, 0), any_version=True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_EXPECT": "100-continue"}, ""),
        ({"HTTP_EXPECT": "100-Continue"}, ""),
        ({"HTTP_EXPECT": "100-continue,100-continue"}, ""),
        ({"HTTP_EXPECT": "200-ok"}, "417"),
        ({"HTTP_EXPECT": ""}, "417"),
        ({"HTTP_EXPECT": "100-continue, x"}, "417"),
        ({"HTTP_UPGRADE": "websocket", "CONTENT_LENGTH": "0"}, ""),
        ({"HTTP_UPGRADE": "websocket", "CONTENT_LENGTH": "5"}, "400"),
        ({"HTTP_UPGRADE": "h2c, WebSocket", "CONTENT_LENGTH": "5"}, "400"),
        ({"HTTP_UPGRADE": "websocket", "HTTP_TRANSFER_ENCODING": "chunked"}, "400"),
        ({"HTTP_UPGRADE": "h2c", "CONTENT_LENGTH": "5"}, ""),
    ],
)
def test_what_cannot_be_done_is_refused(headers: dict[str, str], status: str) -> None:
    """Other expectations (RFC 9110, section 10.1.1), and bodies before a websocket."""
    assert status == status_of(*headers.items())


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        *(("OPTIONS", "*", ""), ("GET", "http://example.org/a", ""), ("GET", "//evil", "")),
        *(("CONNECT", "example.org:443", "501"), ("CONNECT", "/", "501")),
        *(("GET", "/#x", "400"), ("GET", "/a?b#c", "400"), ("GET", "/%23", "")),
    ],
)
def test_a_target_is_for_an_origin_server(method: str, target: str, status: str) -> None:
    """No tunnels, and no fragments: those belong to the client alone."""
    assert status == status_of(method=method, target=target)


@pytest.mark.parametrize(("length", "status"), [(27, ""), (28, "414")])
def test_the_whole_request_line_is_counted(length: int, status: str) -> None:
    """With method and version, without its end, as gunicorn counts."""
    assert status == status_of(target="/" * length, max_line=40)


@pytest.mark.parametrize(
    ("name", "policy", "trusted", "expected"),
    [
        (b"X-Token", {}, False, "HTTP_X_TOKEN"),
        (b"content-LENGTH", {}, False, "CONTENT_LENGTH"),
        (b"X_Token", {}, False, None),
        (b"X_Token", {}, True, None),
        (b"Content_Length", {}, True, None),
        (b"Proxy", {"header_map": "dangerous"}, True, None),
        (b"X_Token", {"header_map": "dangerous"}, False, "HTTP_X_TOKEN"),
        (b"Content_Length", {"header_map": "dangerous"}, False, "HTTP_CONTENT_LENGTH"),
        (b"script_name", {}, True, "HTTP_SCRIPT_NAME"),
        (b"SCRIPT_NAME", {}, False, None),
        (b"REMOTE_USER", {}, True, None),
        (b"REMOTE_USER", {"proxy_names": frozenset(("REMOTE_USER",))}, True, "HTTP_REMOTE_USER"),
        (b"REMOTE_USER", {"proxy_names": frozenset(("REMOTE_USER",))}, False, None),
        (b"X_Y", {"proxy_names": frozenset("*")}, True, "HTTP_X_Y"),
        (b"SCRIPT_NAME", {"header_map": "refuse"}, True, "HTTP_SCRIPT_NAME"),
    ],
)
def test_a_name_with_an_underscore_needs_leave(
    name: bytes, policy: dict[str, Any], trusted: bool, expected: str | None
) -> None:
    """gunicorn's header_map and forwarder_headers; the same on the second sight of a name."""
    names = Names(Policy(**policy), trusted=trusted)

    assert [expected, expected] == [names[name], names[name]]


def test_a_name_with_an_underscore_can_be_refused() -> None:
    """header_map=refuse, each time."""
    names = Names(Policy(header_map="refuse"), trusted=False)

    for _ in range(2):
        with pytest.raises(RequestRefused, match="X_Y") as caught:
            names[b"X_Y"]
        assert "400 Bad Request" == caught.value.status


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [
        (["X-Forwarded-Proto: https"], "https"),
        (["X-Forwarded-Proto: http"], "http"),
        (["X-Forwarded-Proto: HTTPS"], "http"),
        (["X-Forwarded-Ssl: on"], "https"),
        (["X-Forwarded-Proto: https", "X-FORWARDED-PROTOCOL: ssl"], "https"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Proto: https"], "https"),
        (["X-Forwarded-Proto: https,http"], "http"),
    ],
)
def test_a_proxy_says_what_the_scheme_is(lines: list[str], scheme: str) -> None:
    """By an exact value, in any of gunicorn's secure_scheme_headers."""
    headers = [tuple(line.encode().split(b": ")) for line in lines]

    assert scheme == scheme_of(Names(Policy(), trusted=True), headers)  # type: ignore[arg-type]


def test_a_proxy_must_not_contradict_itself() -> None:
    """One header says https and another one http: one of them is the client's."""
    headers = [(b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Ssl", b"off")]

    with pytest.raises(RequestRefused, match="Contradictory"):
        scheme_of(Names(Policy(), trusted=True), headers)


@pytest.mark.parametrize(
    ("peer", "server", "expected"),
    [
        (("127.0.0.1", 1), ("127.0.0.1", 80), True),
        (("10.1.2.3", 1), ("10.0.0.1", 80), True),
        (("2001:db8::7", 1, 0, 0), ("::1", 80, 0, 0), True),
        (("192.0.2.1", 1), ("192.0.2.9", 80), False),
        (("::ffff:127.0.0.1", 1, 0, 0), ("::1", 80, 0, 0), False),
        (("nonsense", 1), ("::1", 80, 0, 0), False),
        ("", "/run/app.sock", True),
        (None, "/run/app.sock", True),
        (None, b"\0abstract", True),
        (None, ("127.0.0.1", 80), False),
        ("", ("127.0.0.1", 80), False),
        (None, None, False),
    ],
)
def test_trust_is_a_matter_of_addresses(peer: object, server: object, expected: bool) -> None:
    """forwarded_allow_ips; a Unix socket is known by our own address, not by a missing one."""
    addresses = Addresses.of("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")

    assert expected is addresses.have(peer, server)
    assert Addresses.of("*").have(peer, server)
