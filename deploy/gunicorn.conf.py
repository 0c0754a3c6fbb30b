"""How gunicorn serves one application: a file beside its code, /srv/NAME/gunicorn.conf.py.

A line that is commented out shows gunicorn's default. A reload reads this file again. The
environment file sets the number of workers, and what the unit says on the command line wins:
worker class, control socket, heartbeat files, address.
"""

# So that "systemctl reload" is seen to begin and to end.
from flask_aiohttp_worker.systemd import child_exit, on_exit, on_reload  # noqa: F401

# Threads for the sync views of each worker; gunicorn's 1 means ten here.
# threads = 1

# Seconds without a heartbeat after which a worker is replaced: its event loop has been blocked for
# as long.
# timeout = 30

# Seconds that requests and websockets have to end at a stop or reload. With more, raise
# TimeoutStopSec in the unit.
# graceful_timeout = 30

# Connections of one worker at a time; more wait to be accepted. Each is a file descriptor
# (LimitNOFILE in the unit), and each websocket is one.
worker_connections = 10_000

# Seconds that an idle connection is kept. Longer than the proxy keeps it, so that it is the proxy
# which ends it: else a request may meet a connection that is just being closed.
keepalive = 75

# Workers are replaced after so many requests, not all at once: for applications that grow.
# max_requests = 0
# max_requests_jitter = 0

# Who may say, with X-Forwarded-Proto, that the client used TLS: the proxy. On a Unix socket every
# peer may.
# forwarded_allow_ips = "127.0.0.1,::1"

# A line for each request, to the journal.
# accesslog = "-"
# access_log_format = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
