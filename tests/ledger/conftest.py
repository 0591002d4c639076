"""A running ledger, on each database in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.ledger.store import Ledger


@pytest.fixture
def url(migrated_url: str) -> str:
    """The URL of an empty ledger with its schema; who asks runs once on each database."""
    return migrated_url


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    """A running ledger that has given its first sign of life."""
    async with open_ledger(url) as ledger:
        await ledger.heartbeat()
        yield ledger
