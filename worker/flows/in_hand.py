"""Which withdrawals somebody in this process is working on right now, so that nobody else begins.

Between processes the ledger's owner column says the same."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class InHand:
    """The message ids in work.

    One may be held several times: two deliveries of one message come at once, and the first to let
    go must not take it out of the other's hands.
    """

    def __init__(self) -> None:
        self._holders: Counter[str] = Counter()

    @property
    def ids(self) -> frozenset[str]:
        """The message ids in work at this moment."""
        return frozenset(self._holders)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._holders)

    @contextmanager
    def holding(self, message_id: str) -> Iterator[None]:
        """Hold one; it is in hand until the last who holds it lets go."""
        self._holders[message_id] += 1
        try:
            yield
        finally:
            self._holders[message_id] -= 1
            if not self._holders[message_id]:
                del self._holders[message_id]
