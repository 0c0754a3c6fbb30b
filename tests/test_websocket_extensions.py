"""Flask's extensions in a websocket: each message has its own database session, a login counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_sqlalchemy import SQLAlchemy
from harness import eventually, serve
from sockets import HANDSHAKE
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import QueuePool
from watching import Application, both_places

from flask_aiohttp import AioHTTP, await_, websocket


@pytest.fixture
def app(tmp_path: Path) -> Application:
    """An application whose database pool has one connection, and waits a second for it."""
    app = Application()
    app.secret_key = "test"
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'test.db'}"
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "poolclass": QueuePool,
        "pool_size": 1,
        "max_overflow": 0,
        "pool_timeout": 1,
        "connect_args": {"check_same_thread": False},
    }
    return app


def add_database(app: Flask) -> tuple[SQLAlchemy, Any]:
    db = SQLAlchemy(app, model_class=type("Base", (DeclarativeBase,), {}))

    class User(UserMixin, db.Model):  # type: ignore[name-defined]
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    with app.app_context():
        db.create_all()
        db.session.add(User(name="Ada"))
        db.session.commit()
    return db, User


@both_places
async def test_message_has_its_own_database_session(app: Application, path: str) -> None:
    """Ten sockets share one connection: between messages none of them holds it."""
    aio = AioHTTP(app)
    db, user = add_database(app)
    sessions: set[int] = set()

    def look(name: str) -> str:
        with aio.message_context():
            sessions.add(id(db.session()))
            g.seen = g.get("seen", 0) + 1
            found = db.session.execute(db.select(user.name).where(user.name == name)).scalar()
            return f"{found} {g.seen} {request.path}"

    @app.route("/async")
    @websocket
    async def async_view() -> None:
        async for message in aio.ws:
            await aio.ws.send_str(look(message.data))

    @app.route("/sync")
    @websocket
    def sync_view() -> None:
        while True:
            await_(aio.ws.send_str(look(await_(aio.ws.receive_str()))))

    async with serve(app, threads=11, logger=app.log) as served:
        sockets = [await served.session.ws_connect(path) for _ in range(10)]
        for name in ("Ada", "Bob"):
            for socket in sockets:
                await socket.send_str(name)
                answer = await socket.receive_str()
                assert f"{'Ada' if name == 'Ada' else None} 1 {path}" == answer
        with app.app_context():
            pool: Any = db.engine.pool
            assert 0 == pool.checkedout()
        for socket in sockets:
            await socket.close()
        await eventually(lambda: not served.server.traffic.websockets, "the end of all sockets")

    assert [] == app.log.lines
    with app.app_context():
        db.engine.dispose()


@both_places
async def test_login_counts_before_the_handshake(app: Application, path: str) -> None:
    """Anonymous gets 401; who is logged in has ``current_user``, fresh with each message."""
    aio = AioHTTP(app)
    db, user = add_database(app)
    login = LoginManager(app)
    login.user_loader(lambda identity: db.session.get(user, int(identity)))

    @app.post("/login")
    def log_in() -> str:
        login_user(db.session.get(user, 1))
        return session["_user_id"]

    @app.post("/rename/<name>")
    def rename(name: str) -> str:
        db.session.get(user, 1).name = name
        db.session.commit()
        return name

    @app.route("/async")
    @websocket
    @login_required
    async def async_view() -> None:
        await aio.ws.send_str(f"hello {current_user.name}")
        db.session.remove()
        async for _ in aio.ws:
            with aio.message_context():
                name = current_user.name
            await aio.ws.send_str(name)

    @app.route("/sync")
    @login_required
    @websocket
    def sync_view() -> None:
        await_(aio.ws.send_str(f"hello {current_user.name}"))
        db.session.remove()
        while await_(aio.ws.receive_str()):
            with aio.message_context():
                name = current_user.name
            await_(aio.ws.send_str(name))

    async with serve(app, threads=4, logger=app.log) as served:
        async with served.session.get(path, headers=HANDSHAKE) as response:
            assert 401 == response.status
        async with served.session.post("/login") as response:
            cookie = {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}
        async with served.session.ws_connect(path, headers=cookie) as socket:
            assert "hello Ada" == await socket.receive_str()
            async with served.session.post("/rename/Grace") as response:
                assert "Grace" == await response.text()
            await socket.send_str("who?")
            assert "Grace" == await socket.receive_str()
        await eventually(lambda: not served.server.traffic.websockets, "the socket's end")

    assert [] == app.log.lines
    with app.app_context():
        db.engine.dispose()
