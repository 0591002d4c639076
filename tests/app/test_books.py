"""The books of real workers: through kills and hostile messages, nothing is missing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from tests.app.harness import until
from tests.ledger.stories import audited

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk

_BAD: Final = 4
_GOOD: Final = 12


async def test_killed_workers_leave_honest_books(desk: Desk, start: Start, migrated: str) -> None:
    """
    One is killed in the midst of good, invalid and nameless messages, another ends the work.

    What was taken is what was sent: each request once, and each dead letter that has no row.
    """
    worker = await start(migrated)
    await worker.ready()
    for number in range(_GOOD):
        await desk.ask(f"good-{number}")
    for number in range(_BAD):
        await desk.ask(f"bad-{number}", amount=5)
        await desk.send(None, b"nameless %d" % number)
    await desk.have_ended(2)
    await worker.kill()
    other = await start(migrated)
    await desk.have_ended(_GOOD + _BAD)

    async def shown() -> bool:
        lines = (await other.metrics()).splitlines()
        return 'withdrawals_books_difference{currency="USD",provider="bluum"} 0.0' in lines

    async def nothing_waits() -> bool:
        return not await desk.waiting()

    await until(shown, lambda: other.output)
    await until(nothing_waits, lambda: other.output)
    await other.end(signal.SIGTERM)
    books, found = await audited(migrated)

    taken = {balance.provider: balance.taken.count for balance in books.balances}
    assert [] == found
    assert books.hold
    assert {"bluum": _GOOD, None: 2 * _BAD} == taken
    assert _BAD == books.checked["dead_letters"]
