"""The table of settings is complete, and what is written from it is up to date."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from gunicorn.config import KNOWN_SETTINGS, Config

from flask_aiohttp_worker._check import describe, refusals, warnings
from flask_aiohttp_worker._table import SETTINGS, Setting, Who, _settings

DOCS = Path(__file__).parents[2] / "docs"


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def error(self, message: str, *args: object) -> None:
        self.errors.append(message % args)

    def warning(self, message: str, *args: object) -> None:
        self.warnings.append(message % args)


def test_each_setting_of_gunicorns_is_decided() -> None:
    """A setting that a new gunicorn brings fails here, until the table says what becomes of it."""
    names = [name for _, names, _ in _settings() for name in names.split()]

    assert {setting.name for setting in KNOWN_SETTINGS} == set(names)
    assert len(names) == len(set(names))


def test_the_page_in_the_docs_is_what_the_table_says() -> None:
    """``make docs`` has been run since the table was changed."""
    page = runpy.run_path(str(DOCS / "make_settings.py"))["page"]()

    assert page == (DOCS / "settings.rst").read_text()


def test_a_setting_without_effect_says_what_to_do() -> None:
    """Its text stands in a warning, in brackets; the others' are sentences of the docs."""
    for setting in SETTINGS.values():
        assert setting.how.endswith(".") is (setting.who is not Who.NOBODY), setting


def test_the_defaults_are_no_reason_for_a_word() -> None:
    """Whoever has changed nothing reads nothing."""
    assert [] == [*refusals(Config()), *warnings(Config())]


# A value other than the default for each setting without effect.
CHANGED = {
    "http_protocols": "h2,h1",
    "http2_cleartext": "upgrade",
    "http2_max_concurrent_streams": 7,
    "http2_initial_window_size": 70000,
    "http2_max_frame_size": 20000,
    "http2_max_header_list_size": 7000,
    "http_parser": "python",
    "uwsgi_allow_ips": "10.0.0.1",
    "tmp_upload_dir": "/tmp",
    "ssl_version": 5,
    "suppress_ragged_eofs": False,
    "asgi_lifespan": "off",
    "root_path": "/shop",
    "secure_scheme_headers": {"X-FORWARDED-PROTO": "https"},
    "forwarded_allow_ips": "10.0.0.1",
    "forwarder_headers": "SCRIPT_NAME",
    "header_map": "refuse",
    "proxy_protocol": "v1",
    "proxy_allow_ips": "10.0.0.1",
}


@pytest.mark.parametrize(
    "setting", [s for s in SETTINGS.values() if s.who is Who.NOBODY], ids=lambda s: s.name
)
def test_each_setting_without_effect_is_named_when_it_is_changed(setting: Setting) -> None:
    """Nothing is ignored in silence, and what was not changed is not spoken of."""
    cfg = Config()
    cfg.set(setting.name, CHANGED.get(setting.name, True))

    [warning] = warnings(cfg)

    prefix = "Settings without effect under flask_aiohttp_worker.Worker: "
    assert f"{prefix}{setting.name} ({setting.how})" == warning


def test_one_warning_names_them_all_with_what_to_do() -> None:
    """Those with the same remedy stand together."""
    cfg = Config()
    for name in ("http_protocols", "http2_cleartext", "http_parser"):
        cfg.set(name, CHANGED[name])

    [warning] = warnings(cfg)

    assert "http_protocols, http2_cleartext (this worker does not speak HTTP/2: let a" in warning
    assert "; http_parser (aiohttp's parser is always used: remove it)" in warning


def test_a_configuration_is_described_once() -> None:
    """Several workers start with one configuration; HUP makes another."""
    log = Log()
    first, second = Config(), Config()
    for cfg in (first, second):
        cfg.set("http_parser", "python")

    for cfg in (first, first, second, first):
        describe(cfg, log)

    assert 2 == len(log.warnings)
    assert [] == log.errors


def test_what_would_be_refused_is_an_error_where_it_is_too_late() -> None:
    """gunicorn asks at the start only; after HUP the workers go on, and the log says why."""
    log, cfg = Log(), Config()
    cfg.set("protocol", "uwsgi")

    describe(cfg, log)

    assert ["remove the setting 'protocol'" in error for error in log.errors] == [True]
