"""Which withdrawals somebody in this process is working on right now, so that nobody else begins.

Between processes the ledger's owner column says the same."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class InHand:
    """The message ids in work."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    @property
    def ids(self) -> frozenset[str]:
        """The message ids in work at this moment."""
        return frozenset(self._ids)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ids)

    @contextmanager
    def holding(self, message_id: str) -> Iterator[None]:
        """Hold one; when it is held already, the holder before keeps it."""
        if message_id in self._ids:
            yield
            return
        self._ids.add(message_id)
        try:
            yield
        finally:
            self._ids.discard(message_id)
