"""Messages of every kind, through the real flows: each is in the books once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pytest

from tests.flows.house import an_envelope
from tests.ledger.stories import audited, unbalanced
from worker.core.messages import DeadReason, Envelope
from worker.flows.burial import Burials
from worker.flows.settlement import Accept, Bury
from worker.ledger.books import Sum

if TYPE_CHECKING:
    from tests.flows.house import House
    from worker.ledger.books import Balance

_INVALID: Final = an_envelope("bad-1", amount=5)
_NAMELESS: Final = an_envelope(None)
_UNREADABLE: Final = Envelope(body=b"?", message_id=None)
_ALL: Final = (
    an_envelope("req-1"),
    an_envelope("req-2", amount="7.00"),
    # Another content under a known id.
    an_envelope("req-1", amount="9.00"),
    _INVALID,
    Envelope(body=b"?", message_id="bad-2"),
    Envelope(body=b"{}" * 40_000, message_id="bad-3"),
    an_envelope("bad-4", provider="nobody"),
    replace(an_envelope("bad-5"), content_type="text/plain"),
    _NAMELESS,
    _UNREADABLE,
)


async def _settled(house: House, envelope: Envelope) -> DeadReason | None:
    """Do with a message what the consumer does; return why it is a dead letter, if it is one."""
    burials = Burials(
        shapes={name: bank.shape for name, bank in house.providers.items()},
        default_provider="bank",
        ledger=house.ledger,
    )
    settlement = await house.intake(envelope)
    if isinstance(settlement, Bury):
        await burials(envelope, settlement.reason)
        return settlement.reason
    assert isinstance(settlement, Accept)
    return None


async def _books(house: House) -> dict[str | None, Balance]:
    books, found = await audited(house.url)
    assert [] == found
    assert books.hold
    assert [] == await unbalanced(house.ledger)
    return {balance.provider: balance for balance in books.balances}


@pytest.mark.parametrize("times", [1, 3])
async def test_every_message_is_in_the_books_once(house: House, times: int) -> None:
    """
    Taken requests, rejected ones, and dead letters of every kind, however often each comes.
    """
    for time in range(times):
        for envelope in _ALL:
            await _settled(house, replace(envelope, redelivered=time > 0))
    books = await _books(house)

    assert Sum(4, Decimal("1016.00")) == books["bank"].taken
    assert Sum(2, Decimal("507.00")) == books["bank"].in_flight
    # The one with another content, and the nameless one: their money can be read.
    assert Sum(2, Decimal("509.00")) == books["bank"].dead_lettered
    assert Sum(6, Decimal(0)) == books[None].taken
    assert {"rejected": Sum(5, Decimal(0))} == books[None].finished
    assert Sum(1, Decimal(0)) == books[None].dead_lettered


async def test_reasons_of_messages_that_have_no_row(house: House) -> None:
    """
    Who has no id, or somebody else's, is in no table but that of the dead letters.
    """
    reasons = [await _settled(house, envelope) for envelope in _ALL]

    assert {
        DeadReason.MESSAGE_ID_REUSED,
        DeadReason.MISSING_MESSAGE_ID,
        DeadReason.MALFORMED,
        DeadReason.INVALID,
        DeadReason.TOO_LARGE,
        DeadReason.UNKNOWN_PROVIDER,
        DeadReason.UNSUPPORTED_TYPE,
        None,
    } == set(reasons)


async def test_a_crash_before_the_dead_letter_counts_once(house: House) -> None:
    """
    Recorded, then died: the message comes again, is known, is buried, and is one request.
    """
    await house.intake(_INVALID)
    assert DeadReason.INVALID is await _settled(house, replace(_INVALID, redelivered=True))
    books = await _books(house)

    assert Sum(1, Decimal(0)) == books[None].taken
    assert {"rejected": Sum(1, Decimal(0))} == books[None].finished


async def test_a_nameless_request_that_got_a_name_is_another(house: House) -> None:
    """
    Its producer sends it again under an id: one dead letter, one request in flight.
    """
    await _settled(house, _NAMELESS)
    await _settled(house, replace(_NAMELESS, message_id="req-1"))
    books = await _books(house)

    assert Sum(2, Decimal(1000)) == books["bank"].taken
    assert Sum(1, Decimal(500)) == books["bank"].in_flight
    assert Sum(1, Decimal(500)) == books["bank"].dead_lettered
