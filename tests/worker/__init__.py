"""Tests of the worker: each starts a real gunicorn and talks to it over sockets."""
