"""An application that PasteDeploy makes."""

from flask import Flask


def make(global_conf: dict[str, str]) -> Flask:
    app = Flask(__name__)

    @app.route("/")
    async def index() -> str:
        return f"colour: {global_conf['colour']}"

    return app
