"""``wsgi.file_wrapper``: a file as the body of an answer (PEP 3333)."""

from __future__ import annotations

import io
from typing import Any

__all__ = ("FileWrapper",)

# Bytes of the largest block. The application's own wish, 8 KiB with Werkzeug, would cost a trip
# from the thread to the loop for each.
_BLOCK = 1 << 18


_PLAIN_FILES = (io.BufferedReader, io.FileIO)


class FileWrapper:
    """Yields the blocks of a file.

    Werkzeug sends a part of a file (``Range``) by what its own wrapper has besides: an iterator
    that is the wrapper itself, to close the file by it, and ``seek()``, without which it would
    read all that stands before the part.

    Args:
        file: Anything with ``read(size)``, and with ``close()`` where it wants to be closed.
        block_size: A hint; larger blocks are read.
    """

    def __init__(self, file: Any, block_size: int = 8192) -> None:
        self.file = file
        self._block_size = max(block_size, _BLOCK)
        for name in ("close", "seek", "tell"):
            if hasattr(file, name):
                setattr(self, name, getattr(file, name))

    def position(self) -> int | None:
        """Return where the file stands, or None if it is no plain file of the operating system.

        A file descriptor alone does not tell: that of a ``GzipFile`` has other bytes.
        """
        return self.file.tell() if type(self.file) in _PLAIN_FILES else None

    def seekable(self) -> bool:
        """Return True if the file can be read from anywhere."""
        return hasattr(self.file, "seekable") and bool(self.file.seekable())

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        if block := self.file.read(self._block_size):
            return block  # type: ignore[no-any-return]
        raise StopIteration
