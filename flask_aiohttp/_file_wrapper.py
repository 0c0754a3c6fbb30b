"""``wsgi.file_wrapper``: a file as the body of an answer (PEP 3333)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ("FileWrapper",)

# Bytes of the largest block. The application's own wish, 8 KiB with Werkzeug, would cost a trip
# from the thread to the loop for each.
_BLOCK = 1 << 18


class FileWrapper:
    """Yields the blocks of a file.

    Args:
        file: Anything with ``read(size)``, and with ``close()`` where it wants to be closed.
        block_size: A hint; larger blocks are read.
    """

    def __init__(self, file: Any, block_size: int = 8192) -> None:
        self._file = file
        self._block_size = max(block_size, _BLOCK)
        close = getattr(file, "close", None)
        if close is not None:
            self.close = close

    def __iter__(self) -> Iterator[bytes]:
        while block := self._file.read(self._block_size):
            yield block
