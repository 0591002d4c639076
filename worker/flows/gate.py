"""Whether new messages are taken in at this moment, how many at once, and who says so.

A closed gate leaves the backlog in the queue. Nothing is returned in a hurry, nothing is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Gate:
    """Open unless somebody holds it closed; each holder closes and opens under its own name.

    `told` hears the names of all holders whenever one closes or opens.
    """

    def __init__(self, *, told: Callable[[frozenset[str]], None] = lambda _holders: None) -> None:
        self._closed_by: dict[str, str] = {}
        self._duties: set[str] = set()
        self._narrowed_by: set[str] = set()
        self._changed = asyncio.Condition()
        self._told = told

    @property
    def is_open(self) -> bool:
        """Whether messages may be taken in."""
        return not self._closed_by

    @property
    def is_narrow(self) -> bool:
        """Whether only one message may be in work at a time."""
        return bool(self._narrowed_by)

    @property
    def waits_dutifully(self) -> bool:
        """Whether it is closed, and by nobody but those for whom waiting is our duty.

        A worker that waits for a provider to come back is ready: there is nothing to mend in it.
        """
        return bool(self._closed_by) and self._duties >= self._closed_by.keys()

    @property
    def closed_by(self) -> Mapping[str, str]:
        """Who holds the gate closed, and why."""
        return dict(self._closed_by)

    async def close(self, holder: str, why: str, *, duty: bool = False) -> None:
        """Stop the intake until `holder` opens again; `duty` as in `waits_dutifully`."""
        async with self._changed:
            if duty:
                self._duties.add(holder)
            self._narrowed_by.discard(holder)
            self._closed_by[holder] = why
            self._change()

    async def open(self, holder: str, *, narrow: bool = False) -> None:
        """Take back what `holder` closed; the gate opens once nobody holds it.

        `narrow` lets one message at a time pass, until `holder` opens the gate fully.
        """
        async with self._changed:
            if narrow:
                self._narrowed_by.add(holder)
            else:
                self._narrowed_by.discard(holder)
            self._duties.discard(holder)
            if self._closed_by.pop(holder, None) is not None:
                self._change()

    async def until(self, *, is_open: bool) -> None:
        """Wait until the gate is open, or closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.is_open is is_open)

    def _change(self) -> None:
        self._changed.notify_all()
        self._told(frozenset(self._closed_by))
