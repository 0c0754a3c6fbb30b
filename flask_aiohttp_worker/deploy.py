"""Write the files that run one application under systemd and nginx, with its names filled in.

    python -m flask_aiohttp_worker.deploy myapp:app --name shop --domain shop.example.org

What it fills in are the files of ``deploy/``, so that there is one version of each.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from flask_aiohttp import InvalidSetting

__all__ = ("Deployment", "main")


class Deployment:
    """One application on one machine.

    Args:
        app: What gunicorn serves, for example ``"myapp:app"``.
        name: The instance's name; by default that of the module.
        directory: Where its code is; by default ``/srv/NAME``.
        venv: Where its Python is; by default ``.venv`` in the directory.
        user: Whom it runs as; by default one that systemd makes, ``flask-NAME``.
        domain: What browsers call it; by default ``NAME.example.org``.
        workers: How many processes.
        network: False if the application itself needs no network.

    Raises:
        InvalidSetting: A value cannot stand in those files.
    """

    def __init__(
        self,
        app: str,
        *,
        name: str | None = None,
        directory: str | None = None,
        venv: str | None = None,
        user: str | None = None,
        domain: str | None = None,
        workers: int = 2,
        network: bool = True,
    ) -> None:
        self.app = _check("the application", app, _APP, "like 'myapp:app' or \"myapp:create()\"")
        if name is None:
            name = re.sub(r"\W", "-", app.partition(":")[0].rpartition(".")[2])
        self.name = _check(
            "--name", name, r"[A-Za-z0-9_-]{1,25}", "at most 25 letters, digits, '-' and '_'"
        )
        self.directory = _check("--directory", directory or f"/srv/{name}", _PATH, _PATH_IN_WORDS)
        self.venv = _check("--venv", venv or f"{self.directory}/.venv", _PATH, _PATH_IN_WORDS)
        self.user = _check(
            "--user", user or f"flask-{name}", r"[A-Za-z_][A-Za-z0-9_-]{0,30}", "a user's name"
        )
        self.domain = _check(
            "--domain", domain or f"{name.replace('_', '-')}.example.org", _DOMAIN, "a host name"
        )
        if workers < 1:
            raise InvalidSetting("--workers", workers, "at least 1")
        self.workers = workers
        self.network = network

    def files(self) -> dict[str, str]:
        """Return the text of each file, by the path at which it is to be installed."""
        unit = f"/etc/systemd/system/flask-aiohttp@{self.name}"
        files = {
            f"{unit}.service": self._service(),
            f"{unit}.socket": _template("flask-aiohttp@.socket"),
            f"/etc/flask-aiohttp/{self.name}.env": self._environment(),
            f"{self.directory}/gunicorn.conf.py": _template("gunicorn.conf.py"),
            f"/etc/nginx/sites-enabled/{self.name}.conf": self._site(),
        }
        if not self.network:
            files[f"{unit}.service.d/no-network.conf"] = _template("no-network.conf")
        return files

    def _service(self) -> str:
        return _fill(
            _template("flask-aiohttp@.service"),
            {
                "/srv/%i/.venv": self.venv,
                "/srv/%i": self.directory,
                "User=flask-%i": f"User={self.user}",
            },
        )

    def _environment(self) -> str:
        return _fill(
            _template("environment.example"),
            {
                "APP=myapp:app\n": f'APP="{self.app}"\n',
                "WEB_CONCURRENCY=2\n": f"WEB_CONCURRENCY={self.workers}\n",
                "demo": self.name,
            },
        )

    def _site(self) -> str:
        text = _template("nginx.conf")
        return _fill(
            text[text.index("upstream ") :],  # without how to fill it in by hand
            {
                "demo.example.org": self.domain,
                "/srv/demo/": f"{self.directory}/",
                # nginx takes a name with "-" for an upstream, but not for a variable.
                "$demo_": f"${self.name.replace('-', '_')}_",
                "demo": self.name,
            },
        )


_APP = r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*(\([\w\s='\".,:/-]*\))?)?"
_PATH = r"(/[\w.@+-]+)+"
_PATH_IN_WORDS = "an absolute path of letters, digits and ._@+-"
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*"


def _check(name: str, value: str, pattern: str, expected: str) -> str:
    if re.fullmatch(pattern, value, re.ASCII) is None or '"' in value or ".." in value.split("/"):
        raise InvalidSetting(name, value, expected)
    return value


def _template(name: str) -> str:
    # In a checkout they stand beside the packages.
    here = Path(__file__).parent
    packaged = here / "deploy_files"
    directory = packaged if packaged.is_dir() else here.parent / "deploy"
    return (directory / name).read_text()


def _fill(text: str, values: dict[str, str]) -> str:
    """Replace all in one pass: what is filled in may look like what is to be replaced."""
    for old in values:
        assert old in text, f"{old!r} is not in the file of deploy/ that it is to be replaced in"
    places = "|".join(re.escape(old) for old in values)  # the first that fits is taken
    return re.sub(places, lambda match: values[match[0]], text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files to a folder, and print how to install each; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        deployment = Deployment(
            options.app,
            name=options.name,
            directory=options.directory,
            venv=options.venv,
            user=options.user,
            domain=options.domain,
            workers=options.workers,
            network=not options.no_network,
        )
    except InvalidSetting as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    files = deployment.files()
    output = Path(options.output or f"deploy-{deployment.name}")
    written = {output / Path(target).name: (target, text) for target, text in files.items()}
    there = [str(path) for path in written if path.exists()]
    if there and not options.force:
        print(
            f"error: {', '.join(there)} exists: choose another --output, or overwrite with --force",
            file=sys.stderr,
        )
        return 1
    output.mkdir(parents=True, exist_ok=True)
    print(f"# Written to {output}. Look at the files, then install them:")
    for path, (target, text) in written.items():
        path.write_text(text)
        # The environment may hold secrets; systemd reads it as root.
        mode = "0600" if target.endswith(".env") else "0644"
        print(f"sudo install -D -m {mode} {path} {target}")
    print("sudo systemctl daemon-reload")
    print(f"sudo systemctl enable --now flask-aiohttp@{deployment.name}.socket")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flask_aiohttp_worker.deploy",
        description="Write the systemd units, environment, gunicorn configuration and nginx site "
        "of one application to a folder.",
    )
    parser.add_argument("app", help="what gunicorn serves, for example myapp:app")
    parser.add_argument("--name", help="name of the instance (default: that of the module)")
    parser.add_argument("--directory", help="where the code is (default: /srv/NAME)")
    parser.add_argument("--venv", help="where its Python is (default: DIRECTORY/.venv)")
    parser.add_argument("--user", help="whom it runs as (default: flask-NAME, made by systemd)")
    parser.add_argument("--domain", help="what browsers call it (default: NAME.example.org)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--no-network", action="store_true", help="the application itself needs no network"
    )
    parser.add_argument("--output", help="folder for the files (default: deploy-NAME)")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
