"""A house of flows over an empty ledger, on each database in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flows.house import House, open_house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def ledger_url(migrated_url: str) -> str:
    """The URL of an empty ledger with its schema, for whatever opens one of its own."""
    return migrated_url


@pytest.fixture
async def house(ledger_url: str) -> AsyncIterator[House]:
    """All flows over an empty ledger."""
    async with open_house(ledger_url) as house:
        yield house
