"""Which withdrawals somebody in this process is working on right now, so that nobody else begins.

Between processes the ledger's owner column says the same."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class InHand:
    """The message ids in work.

    One may be held several times: two deliveries of one message come at once, and the first to let
    go must not take it out of the other's hands.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._holders: Counter[str] = Counter()
        #: Since when each is held without a break, the longest held first.
        self._since: dict[str, float] = {}

    @property
    def ids(self) -> frozenset[str]:
        """The message ids in work at this moment."""
        return frozenset(self._holders)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._holders)

    @property
    def oldest_seconds(self) -> float:
        """For how long the one that is in work the longest has been so; 0 when none is."""
        return next((self._clock() - since for since in self._since.values()), 0.0)

    @contextmanager
    def holding(self, message_id: str) -> Iterator[None]:
        """Hold one; it is in hand until the last who holds it lets go."""
        self._holders[message_id] += 1
        self._since.setdefault(message_id, self._clock())
        try:
            yield
        finally:
            self._holders[message_id] -= 1
            if not self._holders[message_id]:
                del self._holders[message_id], self._since[message_id]
