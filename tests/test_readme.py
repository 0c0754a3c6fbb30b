"""Every command, example and line of the README is run, or stands in what is run."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path

import aiohttp
import pytest
from apps import ported
from harness import eventually, serve

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.rst").read_text()
PORTED = Path(ported.__file__).read_text()


def code_blocks(language: str) -> list[str]:
    """Return the README's code blocks in one language, without their indentation."""
    blocks = re.findall(rf"\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", README)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks]


def table_rows() -> list[tuple[str, str]]:
    """Return the rows of the table that ports the old documentation: then, now."""
    table = README.partition("     - Now\n")[2].partition("\nWhat was broken")[0]
    return re.findall(r"   \* - (.+)\n     - ``(.+)``\n", table)


@pytest.fixture(name="example", scope="module")
def _example():
    """Return the names of the README's application, with its second block added."""
    names: dict = {"__name__": "readme"}
    for block in code_blocks("python"):
        exec(compile(block, "README.rst", "exec"), names)
    return names


def test_tests_of_the_readme_pass(example):
    """The README's tests of its application pass; one of them is a coroutine."""
    tests = [value for name, value in example.items() if name.startswith("test_")]

    assert 3 == len(tests)
    for test in tests:
        outcome = test()
        if inspect.iscoroutine(outcome):
            asyncio.run(outcome)


async def test_message_of_the_readmes_websocket_has_its_own_database_session(example):
    """Flask-SQLAlchemy answers each message, and holds no connection between them."""
    app, db = example["app"], example["db"]

    async with serve(app) as served, served.session.ws_connect("/lengths") as socket:
        for text in ("one", "three"):
            await socket.send_str(text)
            assert len(text) == await socket.receive_json()
    with app.app_context():
        db.engine.dispose()


async def test_application_of_the_readme_serves_its_views(example):
    """The README's application serves a sync view, an async view, events and a websocket."""
    async with serve(example["app"]) as served:
        async with served.session.get("/") as plain:
            assert "a sync view, in a thread" == await plain.text()
        async with served.session.get("/late") as late:
            assert "an async view, on the loop" == await late.text()
        async with served.session.get("/ticks") as ticks:
            assert 10 == (await ticks.text()).count('data: {"number": ')
        async with served.session.ws_connect("/echo") as socket:
            await socket.send_str("hello")

            assert "hello" == await socket.receive_str()


async def test_rooms_of_the_readme_reach_sockets_and_streams(example):
    """A socket hears the chat, and a stream of events what a sync view sends."""
    aio = example["aio"]
    async with serve(example["app"]) as served:
        async with served.session.ws_connect("/chat/tea") as socket:
            await socket.send_str("hello")
            assert "hello" == await socket.receive_str()

        async def read():
            async with served.session.get("/orders") as orders:
                return await orders.content.readline()

        reading = asyncio.create_task(read())
        await eventually(lambda: aio.rooms.stats().members, "somebody to listen")
        async with served.session.post("/orders") as response:
            assert 201 == response.status

        assert b'data: {"total": 12}\n' == await reading


def test_application_of_the_readme_has_about_twelve_lines():
    """The README's application is as short as it claims: one import a line, and no empty ones."""
    block = code_blocks("python")[0]
    statements = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.stmt)]

    assert len(statements) <= 16


def test_commands_of_the_readme_are_targets_of_the_makefile():
    """Each ``make`` command of README and CONTRIBUTING exists."""
    makefile = (ROOT / "Makefile").read_text()
    text = README + (ROOT / "CONTRIBUTING.rst").read_text()
    targets = set(re.findall(r"\$ make (\w+)", text))

    assert {"demo", "test", "check"} == targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize("package", ["flask_aiohttp", "flask_aiohttp_worker"])
def test_contributing_tells_where_each_module_is(package):
    """Each is there once, and none that has gone."""
    text = (ROOT / "CONTRIBUTING.rst").read_text().partition("Imports form")[0]
    section = re.split(r"\n    (?=flask_aiohttp)", text.partition(f"\n    {package}/")[2])[0]
    listed = re.findall(r"\b\w+\.py\b", section)
    modules = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}

    assert sorted(modules) == sorted(listed)


def test_table_has_all_its_rows():
    """The table is found and read whole, so that the next test means something."""
    table = README.partition("     - Now\n")[2].partition("\nWhat was broken")[0]

    assert table.count("   * - ") == len(table_rows()) == 22


@pytest.mark.parametrize(
    "then, now", [row for row in table_rows() if not row[1].startswith("gunicorn ")]
)
def test_line_of_the_table_stands_in_an_application_that_is_served(then, now):
    """Each line of today stands in the application of the next tests, which sleeps less."""
    assert now.replace("sleep(3)", "sleep(0.01)") in PORTED, then


@pytest.mark.parametrize("command", [now for _, now in table_rows() if now.startswith("gunicorn ")])
def test_gunicorn_command_of_the_table_serves_the_application(gunicorn, command):
    """Each gunicorn command of the table serves the ported application."""
    application, _, worker = command.split()[1:]
    server = gunicorn(application.replace("myapp", "ported"), worker=worker)

    assert "Sorry, I'm late!" == server.get("/late")
    assert "Sorry, I'm late!" in server.get("/api")


async def test_ported_application_works():
    """The application made of the table's lines answers, waits, calls out and echoes."""
    async with serve(ported.app) as served:
        for path in ("/late", "/late-generator"):
            async with served.session.get(path) as response:
                assert "Sorry, I'm late!" == await response.text()
        async with served.session.get("/api") as response:
            assert {"data": "Sorry, I'm late!"} == await response.json()
        for path in ("/echo", "/echo-for"):
            async with served.session.ws_connect(path) as socket:
                await socket.send_str("hello")
                assert "hello" == await socket.receive_str()
            assert aiohttp.WSCloseCode.OK == socket.close_code
        async with served.session.get("/echo") as refused:
            assert 404 == refused.status
        async with served.session.get("/count") as count:
            assert "8" == await count.text()


def test_settings_of_the_readme_are_those_that_are_read():
    """The README names each setting of the Flask configuration, and no other."""
    from flask_aiohttp._settings import _CONFIG

    assert set(_CONFIG) == set(re.findall(r"   \* - ``(AIOHTTP_\w+)``", README))
