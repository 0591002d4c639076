"""Whole lives of withdrawals in a ledger, and what an audit says of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tests.ledger.builders import FINGERPRINT, NOW, an_attempt, an_order, moved, taken_in
from worker.core.burials import Burial, identity
from worker.core.messages import DeadReason
from worker.core.withdrawal import Status
from worker.ledger.books import Alteration, Balance, Books, Sum, audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.change import Held
    from worker.ledger.store import Ledger

NOTHING: Final = Sum(0, Decimal(0))
#: The way of a payout that goes well.
PAID_OUT: Final = (Status.PENDING, Status.PROCESSING, Status.COMPLETED)


async def lived(ledger: Ledger, message_id: str, statuses: Sequence[Status] = PAID_OUT) -> Held:
    """Take a request in and let it go through statuses, with its create call written down."""
    order = an_order(message_id)
    taken = await ledger.take(taken_in(order), FINGERPRINT, (an_attempt(),))
    assert taken.is_new
    held: Held | None = taken.held
    for number, status in enumerate(statuses, start=1):
        assert held is not None
        at = NOW + timedelta(minutes=number)
        attempt = an_attempt(ended_at=at, outcome="reported")
        decision = moved(
            held, status, now=at, withdrawal_id=f"wd-of-{message_id}", provider_status=status.value
        )
        held = await ledger.record(held, decision, (attempt,))
    assert held is not None
    return held


def a_burial(
    message_id: str | None = None,
    *,
    body: bytes = b"?",
    redelivered: bool = False,
    fingerprint: bytes | None = b"g" * 32,
    amount: Decimal | None = None,
) -> Burial:
    """A message that nobody can carry out; with an amount it asks for dollars from bluum."""
    return Burial(
        identity=identity(message_id, body),
        reason=DeadReason.MALFORMED,
        message_id=message_id,
        fingerprint=fingerprint,
        provider=None if amount is None else "bluum",
        amount=amount,
        currency=None if amount is None else "USD",
        redelivered=redelivered,
    )


async def audited(url: str) -> tuple[Books, list[Alteration]]:
    """What an audit of the whole ledger finds."""
    found: list[Alteration] = []
    return await audit(url, found=found.append), found


async def balance_of(url: str, provider: str | None = "bluum") -> Balance:
    """The one balance of a provider; None is what could not be read."""
    books, _ = await audited(url)
    (balance,) = [one for one in books.balances if one.provider == provider]
    return balance


async def unbalanced(ledger: Ledger) -> list[tuple[str | None, int, Decimal]]:
    """What the metric would show that is not zero."""
    return [
        (entry.provider, entry.count, entry.amount)
        for entry in await ledger.books_differences()
        if entry.count or entry.amount
    ]
