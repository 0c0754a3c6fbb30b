"""A real nginx in front of a real gunicorn."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from pathlib import Path

from harness import Gunicorn

# What stands around a site on a Debian server, with everything that nginx writes in one directory.
NGINX_CONF = """
user {user};
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}}
"""


class Nginx:
    """An nginx whose ports are made here and handed over, so that they are free.

    Args:
        program: nginx.
        site: The text of a site that listens on ports 80 and 443.
        directory: For its files.
    """

    def __init__(self, program: str, site: str, directory: Path) -> None:
        self.http = socket.create_server(("127.0.0.1", 0))
        self.https = socket.create_server(("127.0.0.1", 0))
        site = re.sub(r"listen \[::\].*;", "", site)
        site = site.replace("listen 80;", f"listen 127.0.0.1:{self.port(self.http)};")
        site = site.replace("listen 443 ssl;", f"listen 127.0.0.1:{self.port(self.https)} ssl;")
        (directory / "site.conf").write_text(site)
        user = "root" if os.geteuid() == 0 else "nobody"
        (directory / "nginx.conf").write_text(NGINX_CONF.format(user=user))
        sockets = (self.http, self.https)
        for sock in sockets:
            sock.set_inheritable(True)
        self.log_path = directory / "nginx.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [program, "-p", str(directory), "-c", "nginx.conf", "-g", "daemon off;"],
                # As when nginx replaces itself: it takes these instead of binding anew.
                env={**os.environ, "NGINX": "".join(f"{sock.fileno()};" for sock in sockets)},
                pass_fds=[sock.fileno() for sock in sockets],
                stderr=log,
            )

    @staticmethod
    def port(sock: socket.socket) -> int:
        """Return the port of a listening socket."""
        return int(sock.getsockname()[1])

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)
        self.http.close()
        self.https.close()


class Site:
    """A deployed application: nginx in front, gunicorn behind.

    Args:
        released: A file; once it is there, streams go on to their end.
    """

    def __init__(self, nginx: Nginx, gunicorn: Gunicorn, certificate: Path, released: Path) -> None:
        self.nginx = nginx
        self.gunicorn = gunicorn
        self.released = released
        self.port = nginx.port(nginx.https)
        self.context = ssl.create_default_context(cafile=str(certificate))


def make_certificate(openssl: str, directory: Path) -> Path:
    """Make a certificate for localhost, and ``key.pem`` beside it; return its path."""
    certificate = directory / "cert.pem"
    command = [
        *(openssl, "req", "-x509", "-nodes", "-days", "1"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-keyout", str(directory / "key.pem"), "-out", str(certificate)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return certificate
