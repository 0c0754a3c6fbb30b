"""Each of gunicorn's settings: who honours it, and how.

The warning at the start and ``docs/settings.rst`` are made of this. A test compares it with the
gunicorn that is installed: a new setting of gunicorn's must be decided here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ("SETTINGS", "Setting", "Who")


class Who(enum.Enum):
    """Who does what a setting says."""

    GUNICORN = "gunicorn"  # the master, the logger, or whatever loads the application
    BASE = "base worker"  # what all workers inherit from gunicorn
    WORKER = "this worker"
    NOBODY = "no effect"  # a change of it is named in a warning at the start
    REFUSED = "refused"  # a change of it ends gunicorn at the start


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        name: As a configuration file spells it.
        who: Who does what it says.
        how: For the documentation, how it is honoured; for one without effect, what to do instead.
    """

    name: str
    who: Who
    how: str


def _settings() -> Iterator[tuple[Who, str, str]]:
    """Yield who, the names of one or more settings, and how those are honoured."""
    gunicorn, base, worker, nobody = Who.GUNICORN, Who.BASE, Who.WORKER, Who.NOBODY

    yield gunicorn, "config wsgi_app chdir pythonpath", "Read before anything is loaded."
    yield gunicorn, "worker_class", "``flask_aiohttp_worker.Worker``."
    yield gunicorn, "paste raw_paste_global_conf", "What PasteDeploy makes is served as WSGI."
    yield gunicorn, "preload_app", "Loops and threads are made after the fork."

    yield gunicorn, "bind", "Also several, Unix sockets, ``fd://`` and systemd's sockets."
    yield gunicorn, "reuse_port", "Each worker has a socket of its own."
    yield gunicorn, "backlog", "The kernel's queue keeps this length."

    yield gunicorn, "workers", "More than one sets ``wsgi.multiprocess``."
    yield worker, "threads", "Threads for sync views; 1, the default, means 10."
    yield worker, "worker_connections", "At the ceiling new ones wait in the kernel's queue."
    yield worker, "max_requests", "Websockets count as one request."
    yield base, "max_requests_jitter", "Added at random."
    yield worker, "timeout", "A loop that is blocked for so long is reported, then killed."
    yield worker, "graceful_timeout", "Holds at every stop, also after HUP and ``max_requests``."
    yield worker, "keepalive", "0 closes each connection after one answer, and says so."

    yield worker, "limit_request_line", "0 is the ceiling of 1 MiB."
    yield worker, "limit_request_fields limit_request_field_size", "As gunicorn counts them."

    yield base, "reload reload_extra_files", "The worker leaves at once, also with sockets open."
    yield base, "reload_engine", "The same as under gunicorn's own workers."
    yield gunicorn, "spew", "Traces the main thread, which is the loop's."
    yield gunicorn, "check_config print_config", "Look at gunicorn's side only."

    yield gunicorn, "daemon raw_env pidfile", "Done before the fork."
    yield base, "worker_tmp_dir user group umask initgroups", "Done when the worker starts."
    yield worker, "sendfile", "Files go out through the kernel, except over TLS."
    yield nobody, "tmp_upload_dir", "nothing in gunicorn reads it: TMPDIR says where uploads go"

    yield worker, "forwarded_allow_ips", "Addresses and networks; a Unix socket is trusted."
    yield worker, "secure_scheme_headers", "From trusted peers; contradictions are refused."
    yield worker, "forwarder_headers header_map", "As in gunicorn. ``Proxy`` is always dropped."
    yield worker, "proxy_protocol proxy_allow_ips", "Versions 1 and 2; inside of TLS."
    yield Who.REFUSED, "protocol", "Only ``http``: gunicorn's own workers speak uwsgi."
    yield nobody, "uwsgi_allow_ips", "this worker does not speak uwsgi: remove it"

    yield gunicorn, "proc_name", "The worker's title also says how much it has to do."
    yield gunicorn, "default_proc_name", "Set by gunicorn itself."

    yield from _about_logs()
    yield from _about_hooks()
    yield from _about_tls()
    yield from _about_asgi()

    proxy = "this worker does not speak HTTP/2: let a proxy in front do so"
    yield nobody, "http_protocols http2_cleartext", proxy
    yield nobody, "http2_max_concurrent_streams http2_initial_window_size", proxy
    yield nobody, "http2_max_frame_size http2_max_header_list_size", proxy

    parser = "aiohttp's parser is always strict: mend the client, or let a proxy in front do so"
    yield nobody, "permit_obsolete_folding strip_header_spaces casefold_http_method", parser
    yield nobody, "permit_unconventional_http_method", parser
    yield worker, "permit_unconventional_http_version", "Otherwise only HTTP/1.x is served."
    yield nobody, "http_parser", "aiohttp's parser is always used: remove it"


def _about_logs() -> Iterator[tuple[Who, str, str]]:
    gunicorn, worker = Who.GUNICORN, Who.WORKER
    yield gunicorn, "errorlog loglevel", "All that this project says goes to this log too."
    yield gunicorn, "capture_output enable_stdio_inheritance", "Done before the fork."
    yield (
        worker,
        "accesslog",
        "A line for each request, websockets at their end, native routes too.",
    )
    yield worker, "access_log_format", "Every atom; bytes are those of the body."
    yield worker, "logger_class", "Its own ``access()`` is called."
    yield worker, "logconfig logconfig_dict logconfig_json", "Turn the access log on as well."
    yield gunicorn, "syslog syslog_addr syslog_prefix syslog_facility", "For both logs."
    yield gunicorn, "disable_redirect_access_to_syslog", "The access log does not go there."
    yield worker, "statsd_host", "Counts each request, with an access log and without."
    yield gunicorn, "dogstatsd_tags statsd_prefix enable_backlog_metric", "Added to each metric."


def _about_hooks() -> Iterator[tuple[Who, str, str]]:
    gunicorn, worker = Who.GUNICORN, Who.WORKER
    yield gunicorn, "on_starting on_reload when_ready pre_fork", "Called in the master."
    yield gunicorn, "child_exit nworkers_changed on_exit", "Called in the master."
    yield gunicorn, "post_fork worker_exit", "Called in the worker; no loop runs."
    yield gunicorn, "pre_exec", "Called in the new master."
    yield Who.BASE, "post_worker_init", "Called in the worker, before its loop runs."
    yield worker, "worker_int", "Called once, in the main thread."
    yield worker, "worker_abort", "Called also where the loop is blocked."
    yield worker, "pre_request post_request", "Called where the request runs, websockets included."


def _about_tls() -> Iterator[tuple[Who, str, str]]:
    worker, nobody = Who.WORKER, Who.NOBODY
    yield worker, "certfile keyfile", "Read once by each worker; HUP reads them again."
    yield worker, "ca_certs cert_reqs", "A client that is refused is one line in the log."
    yield worker, "ciphers", "As under gunicorn's own workers."
    yield worker, "ssl_context", "Called once by each worker; offers HTTP/1.1 only."
    yield nobody, "ssl_version", "gunicorn ignores it too: set the versions in ssl_context"
    yield nobody, "suppress_ragged_eofs do_handshake_on_connect", "asyncio decides: remove it"


def _about_asgi() -> Iterator[tuple[Who, str, str]]:
    gunicorn, worker = Who.GUNICORN, Who.WORKER
    yield worker, "asgi_loop", "``auto`` is uvloop where it is installed."
    yield worker, "asgi_disconnect_grace_period", "For views that are cancelled without a client."
    yield Who.NOBODY, "asgi_lifespan", "there is no ASGI application: use AioHTTP.lifespan"
    yield worker, "websocket_max_message_size", "0 is no limit."
    yield Who.NOBODY, "root_path", "WSGI has SCRIPT_NAME for it: set that environment variable"

    dirty = "Its processes are gunicorn's; views reach them through its client."
    yield gunicorn, "dirty_apps dirty_workers dirty_timeout dirty_threads", dirty
    yield gunicorn, "dirty_graceful_timeout", dirty
    yield gunicorn, "on_dirty_starting dirty_post_fork", "Called in gunicorn's other processes."
    yield gunicorn, "dirty_worker_init dirty_worker_exit", "Called in gunicorn's other processes."
    yield gunicorn, "control_socket control_socket_mode control_socket_disable", "In the master."


SETTINGS = {
    name: Setting(name, who, how) for who, names, how in _settings() for name in names.split()
}
