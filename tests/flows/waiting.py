"""Waiting for what another task does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Far more than anything here takes; only a failing test waits so long.
PATIENT_SECONDS: Final = 20.0


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; TimeoutError when that takes too long."""
    async with asyncio.timeout(PATIENT_SECONDS):
        while not holds():  # noqa: ASYNC110 - nobody tells when a fake's list grows
            await asyncio.sleep(0.005)
