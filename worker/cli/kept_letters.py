"""A file that keeps dead letters whole before they are dropped, readable by its owner alone.

One JSON object a line, body and properties in base64. Nothing is ever overwritten."""

from __future__ import annotations

import base64
import json
import os
import stat
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.replay import Letter

#: Not through a link, which may lead to a file of somebody else.
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW


class KeptUnsafe(Exception):  # noqa: N818 - named by what is wrong
    """The file cannot keep letters: others may read it, it is no plain file, or it cannot be."""


class Whole(Protocol):
    """A letter with all that belongs to it."""

    letter: Letter
    properties: bytes

    @property
    def body(self) -> bytes:
        """The original body."""
        ...


class KeptLetters:
    """The file, made with mode 0600 or appended to if it already is one; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int = -1

    def __enter__(self) -> Self:
        """Open the file, and make its name durable. Raises KeptUnsafe."""
        try:
            self._file = os.open(self._path, _FLAGS, 0o600)
            self._check()
            _sync_folder(self._path.parent)
        except OSError as error:
            raise KeptUnsafe(f"{self._path}: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        os.close(self._file)

    def add(self, whole: Whole) -> None:
        """Write a letter down; returns once it would survive a power cut. Raises KeptUnsafe."""
        document = {
            "id": whole.letter.id,
            "message_id": whole.letter.message_id,
            "reason": whole.letter.reason,
            "origin_queue": whole.letter.origin,
            "properties": base64.b64encode(whole.properties).decode(),
            "body": base64.b64encode(whole.body).decode(),
        }
        left = json.dumps(document).encode() + b"\n"
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            raise KeptUnsafe(f"{self._path}: {error.strerror}") from error

    def _check(self) -> None:
        mode = os.fstat(self._file).st_mode
        if not stat.S_ISREG(mode) or stat.S_IMODE(mode) & 0o077:
            os.close(self._file)
            raise KeptUnsafe(f"{self._path}: expected a new file, or one with mode 0600")
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            # Somebody was interrupted while writing: the next letter gets a line of its own.
            os.write(self._file, b"\n")


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
