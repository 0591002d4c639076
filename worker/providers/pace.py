"""Keeping within the provider's request rate, in this process.

Calls leave evenly spaced, in the order in which they asked; a 429 holds all of them back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


#: A longer pause is not waited out with a message in hand: the call is put off instead.
WAIT_LIMIT: Final = timedelta(seconds=5)


class Pace:
    """At most `rate` calls a second; `waited` is told the operation and its seconds of waiting."""

    def __init__(self, rate: float, *, waited: Callable[[str, float], None]) -> None:
        self._gap = 1 / rate
        self._waited = waited
        self._next_at = 0.0
        self._paused_until = 0.0

    async def take(self, operation: str) -> timedelta | None:
        """Wait for this call's turn and return None; or return how long the pause still lasts."""
        asked_at = monotonic()
        if (rest := self._rest()) > WAIT_LIMIT:
            return rest
        turn = max(self._next_at, asked_at)
        self._next_at = turn + self._gap
        if (wait := turn - asked_at) > 0:
            await asyncio.sleep(wait)
        # A pause that began while we waited holds for us as well.
        while (rest := self._rest()) > timedelta(0):
            if rest > WAIT_LIMIT:
                return rest
            await asyncio.sleep(rest.total_seconds())
        self._waited(operation, monotonic() - asked_at)
        return None

    def pause(self, wait: timedelta) -> None:
        """Let nothing out for `wait`: the provider said so."""
        self._paused_until = max(self._paused_until, monotonic() + wait.total_seconds())

    def _rest(self) -> timedelta:
        return timedelta(seconds=self._paused_until - monotonic())
