"""Rooms: a message reaches every member, in every worker, on every machine.

::

    _api        aio.rooms: what an application calls
    _hub        the rooms of one worker, and who is in them
    _member     how one member gets its messages, and what happens to one that is too slow
    _message    a message, encoded once
    _bus        what carries messages between workers; the bus of a process that is alone
    _buses      which of them there is
    _mesh       the bus of one machine; _wire is one of its connections
    _directory  where its workers find each other
    _frames     what they say to each other
    _redis      the bus of several machines; the only module that knows the package redis
    _outside    the hub of a process that is no worker

At most once, in order for each sender and room, and every queue has an end.
"""

from __future__ import annotations

from ._api import Rooms
from ._buses import make_hub
from ._hub import Hub, Stats
from ._member import Lagged

__all__ = ("Hub", "Lagged", "Rooms", "Stats", "make_hub")
