"""Each module says what it offers, and the package offers what users need."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from types import ModuleType
from typing import TypeVar

import pytest

import flask_aiohttp
import flask_aiohttp_worker

MODULES = [
    importlib.import_module(found.name)
    for package in (flask_aiohttp, flask_aiohttp_worker)
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]

PACKAGES = [flask_aiohttp, flask_aiohttp_worker, flask_aiohttp.rooms]

# Their names are imported from the package. util is the module of 2015, asked for by its own.
IN_THE_ROOT = ("exceptions", "extension", "handler", "helper")


def defined_in(module: ModuleType) -> set[str]:
    """Return the public names that a module's own statements define."""
    names = set()
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {
        name
        for name in names
        if not name.startswith("_") and not isinstance(getattr(module, name), TypeVar)
    }


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_module_lists_what_it_offers(module: ModuleType) -> None:
    """``__all__`` is a tuple of names that exist, each once."""
    exported = module.__all__

    assert isinstance(exported, tuple)
    assert len(exported) == len(set(exported))
    assert [] == [name for name in exported if not hasattr(module, name)]


@pytest.mark.parametrize(
    "module",
    [
        module
        for module in MODULES
        if module not in PACKAGES and not re.search(r"\._", module.__name__)
    ],
    ids=lambda module: module.__name__,
)
def test_a_public_module_hides_nothing_and_offers_nothing_of_others(module: ModuleType) -> None:
    """What it defines without an underscore is what it offers, and what is its own in private."""
    own = defined_in(module)
    others = set(module.__all__) - own

    assert own <= set(module.__all__)
    assert {"flask_aiohttp._"} >= {getattr(module, name).__module__[:15] for name in others}


@pytest.mark.parametrize("name", IN_THE_ROOT)
def test_the_package_offers_what_its_public_modules_offer(name: str) -> None:
    """Users import from the package, and get the very same objects."""
    module = importlib.import_module(f"flask_aiohttp.{name}")

    assert set(module.__all__) <= set(flask_aiohttp.__all__)
    assert [] == [
        name
        for name in module.__all__
        if getattr(flask_aiohttp, name, None) is not getattr(module, name)
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_offers_only_what_it_lists(package: ModuleType) -> None:
    """``__all__`` is complete, and each name in it exists."""
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }

    assert public == set(package.__all__)
    assert len(public) == len(package.__all__)
