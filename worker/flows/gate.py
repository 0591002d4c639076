"""Whether new messages are taken in at this moment, and if not, who says so.

A closed gate leaves the backlog in the queue. Nothing is returned in a hurry, nothing is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Gate:
    """Open unless somebody holds it closed; each holder closes and opens under its own name."""

    def __init__(self) -> None:
        self._closed_by: dict[str, str] = {}
        self._changed = asyncio.Condition()

    @property
    def is_open(self) -> bool:
        """Whether messages may be taken in."""
        return not self._closed_by

    @property
    def closed_by(self) -> Mapping[str, str]:
        """Who holds the gate closed, and why."""
        return dict(self._closed_by)

    async def close(self, holder: str, why: str) -> None:
        """Stop the intake until `holder` opens again."""
        async with self._changed:
            self._closed_by[holder] = why
            self._changed.notify_all()

    async def open(self, holder: str) -> None:
        """Take back what `holder` closed; the gate opens once nobody holds it."""
        async with self._changed:
            if self._closed_by.pop(holder, None) is not None:
                self._changed.notify_all()

    async def until(self, *, is_open: bool) -> None:
        """Wait until the gate is open, or closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.is_open is is_open)
