"""For each setting there is a test with a real gunicorn that shows its effect, or its warning."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from flask_aiohttp_worker._table import SETTINGS, Who

TESTS = Path(__file__).parents[1]

# The tests of each setting, by file. A setting without effect is shown by test_without_effect.
SHOWN = {
    "settings_contract/test_process.py": {
        "test_a_process_is_what_it_is_under_gthread": "config wsgi_app chdir pythonpath raw_env "
        "proc_name pidfile worker_tmp_dir preload_app worker_class",
        "test_a_worker_becomes_the_user_that_was_named": "user group initgroups",
        "test_a_unix_socket_has_the_mode_that_was_asked_for": "umask",
        "test_without_a_name_the_title_has_the_applications": "default_proc_name",
        "test_a_daemon_serves_and_stops_by_its_pid_file": "daemon",
        "test_the_configuration_can_be_looked_at": "check_config print_config",
        "test_each_line_may_be_traced": "spew",
        "test_paste_serves_what_pastedeploy_makes": "paste raw_paste_global_conf",
        "test_gunicornc_looks_into_the_master": "control_socket control_socket_mode "
        "control_socket_disable",
    },
    "settings_contract/test_master_hooks.py": {
        "test_the_hooks_are_called_at_the_same_steps_of_a_life": "on_starting on_reload "
        "when_ready pre_fork post_fork post_worker_init child_exit worker_exit nworkers_changed "
        "on_exit",
        "test_pre_exec_is_called_before_another_master": "pre_exec",
    },
    "settings_contract/test_logs.py": {
        "test_a_file_is_written_and_opened_anew_after_usr1": "accesslog",
        "test_a_configuration_of_loggings_own_turns_the_access_log_on": "logconfig "
        "logconfig_dict logconfig_json",
        "test_syslog_is_sent_both_logs": "syslog syslog_addr syslog_prefix syslog_facility",
        "test_the_access_log_may_be_kept_from_syslog": "disable_redirect_access_to_syslog",
        "test_a_logger_class_of_ones_own_is_asked": "logger_class",
        "test_the_error_log_has_its_file_level_and_what_is_printed": "errorlog loglevel "
        "capture_output",
        "test_a_daemon_may_keep_its_output": "enable_stdio_inheritance",
    },
    "settings_contract/test_access_log.py": {
        "test_a_request_is_logged_as_under_gthread": "access_log_format",
    },
    "settings_contract/test_statsd.py": {
        "test_each_request_is_counted_as_under_gthread": "statsd_host statsd_prefix dogstatsd_tags",
        "test_the_backlog_is_a_metric": "enable_backlog_metric",
    },
    "settings_contract/test_hooks.py": {
        "test_the_hooks_see_what_they_see_under_gthread": "pre_request post_request",
    },
    "settings_contract/test_connections.py": {
        "test_the_kernel_sends_files_unless_it_must_not": "sendfile",
        "test_a_connection_is_kept_or_not": "keepalive",
    },
    "settings_contract/test_tls.py": {
        "test_hup_reads_the_certificate_anew": "certfile keyfile",
        "test_ciphers_are_those_that_were_given": "ciphers",
        "test_the_hook_makes_one_context_for_each_worker": "ssl_context",
    },
    "settings_contract/test_asgi.py": {
        "test_a_message_has_a_largest_size": "websocket_max_message_size",
        "test_a_view_without_a_client_is_cancelled": "asgi_disconnect_grace_period",
        "test_gunicorns_other_processes_are_reached_from_views": "dirty_apps dirty_workers "
        "dirty_timeout dirty_threads dirty_graceful_timeout on_dirty_starting dirty_post_fork "
        "dirty_worker_init dirty_worker_exit",
    },
    "worker/test_policy.py": {
        "test_a_setting_means_what_it_means_to_gunicorn": "secure_scheme_headers "
        "forwarded_allow_ips forwarder_headers header_map limit_request_line limit_request_fields "
        "limit_request_field_size permit_unconventional_http_version proxy_protocol "
        "proxy_allow_ips",
    },
    "worker/test_tls.py": {
        "test_a_client_without_the_certificate_that_is_asked_for_is_refused": "ca_certs cert_reqs",
    },
    "settings_contract/test_life.py": {
        "test_a_worker_serves_so_many_requests": "max_requests max_requests_jitter",
        "test_a_file_besides_the_modules_is_watched": "reload reload_engine reload_extra_files",
    },
    "worker/test_serving.py": {
        "test_both_workers_answer_each_in_the_views_own_place": "workers",
    },
    "worker/test_boot.py": {"test_the_uwsgi_protocol_is_refused": "protocol"},
    "worker/test_settings.py": {
        "test_as_many_sync_views_run_at_a_time_as_there_are_threads": "threads",
        "test_the_loop_is_the_one_that_was_asked_for": "asgi_loop",
    },
    "worker/test_sockets.py": {
        "test_each_of_several_addresses_is_served": "bind",
        "test_the_backlog_is_gunicorns": "backlog",
        "test_a_port_shared_by_kernel_is_served_by_each_worker": "reuse_port",
        "test_more_connections_than_a_worker_may_have_wait_in_the_queue": "worker_connections",
    },
    "worker/test_crash.py": {
        "test_a_blocked_loop_is_reported_and_replaced": "timeout worker_abort",
    },
    "worker/test_stop.py": {
        "test_ctrl_c_in_a_terminal_calls_worker_int_once": "worker_int",
        "test_a_drain_ends_before_the_master_loses_patience": "graceful_timeout",
    },
    "settings_contract/test_without_effect.py": {
        "test_each_is_named_in_one_line": " ".join(
            setting.name for setting in SETTINGS.values() if setting.who is Who.NOBODY
        )
    },
}


def test_each_setting_is_shown_by_one_test() -> None:
    """A new setting needs a test, and one that is honoured now needs another one."""
    shown = [name for tests in SHOWN.values() for names in tests.values() for name in names.split()]

    assert set(SETTINGS) == set(shown)
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("file", SHOWN)
def test_the_tests_exist(file: str) -> None:
    """By these names."""
    tree = ast.parse((TESTS / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    present = {node.name for node in tree.body if isinstance(node, functions)}

    assert set() == set(SHOWN[file]) - present
