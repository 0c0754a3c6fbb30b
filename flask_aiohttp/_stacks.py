"""Stacks as text: where a thread is, and where a task waits. Bounded, since they go to a log."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, TypeAlias

from . import _bridge

__all__ = ("Standing", "frames_from", "frames_of_task", "frames_of_threads", "grouped", "stack")

# Who stands where: a name, and frames with the innermost last.
Standing: TypeAlias = tuple[str, list[FrameType]]

# The innermost frames are those that tell.
_MAX_FRAMES = 20

# Different stacks in one text, and names at one stack.
_MAX_STACKS = 30
_MAX_NAMES = 10

# What leads to an application is the same each time, and left out: packages by their names.
_PLUMBING = frozenset({"aiohttp", "asyncio", "flask", "flask_aiohttp", "gunicorn", "threading"})


def stack(frames: list[FrameType]) -> str:
    """Return *frames*, innermost last, as a traceback shows them.

    Left out are those of the servers and frameworks below an application, except the last one.
    """
    shown = [frame for frame in frames[:-1] if not _is_plumbing(frame)] + frames[-1:]
    summary = traceback.StackSummary.extract((f, f.f_lineno) for f in shown[-_MAX_FRAMES:])
    return "".join(summary.format()) or "  nowhere\n"


def _is_plumbing(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _PLUMBING


def grouped(standing: Iterable[Standing]) -> str:
    """Return the stacks, each once, with the names of all that stand there."""
    names: dict[tuple[tuple[str, int], ...], list[str]] = {}
    stacks: dict[tuple[tuple[str, int], ...], list[FrameType]] = {}
    for name, frames in standing:
        key = tuple((frame.f_code.co_filename, frame.f_lineno) for frame in frames)
        names.setdefault(key, []).append(name)
        stacks.setdefault(key, frames)
    shown = list(stacks)[:_MAX_STACKS]
    text = "".join(f"{_listed(names[key])}:\n{stack(stacks[key])}" for key in shown)
    left_out = sum(len(names[key]) for key in list(stacks)[_MAX_STACKS:])
    return f"{text}and {left_out} more\n" if left_out else text


def _listed(names: list[str]) -> str:
    text = ", ".join(sorted(names)[:_MAX_NAMES])
    return text if len(names) <= _MAX_NAMES else f"{text} and {len(names) - _MAX_NAMES} more"


def frames_from(frame: FrameType | None) -> list[FrameType]:
    """Return the frames that led to *frame*, innermost last."""
    return list(_walk_back(frame))[::-1]


def _walk_back(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def frames_of_threads() -> dict[int, list[FrameType]]:
    """Return the frames of each thread by its ``ident``, at this moment.

    Of a thread that runs a greenlet, these are that greenlet's.
    """
    return {ident: frames_from(frame) for ident, frame in sys._current_frames().items()}


def frames_of_task(task: asyncio.Task[Any], carrier: _bridge.Carrier | None) -> list[FrameType]:
    """Return where *task* waits, innermost last.

    Args:
        carrier: The greenlet in which it waits, if it does.
    """
    # Task.get_stack() has the outermost frame only.
    frames = list(_bridge.await_chain(task.get_coro()))
    return frames + carrier.frames() if carrier is not None else frames
