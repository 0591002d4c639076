"""Dead letters in the books: each counts once, through crashes, copies, replays and drops."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, an_order, refused, take, taken_in
from tests.ledger.stories import NOTHING, a_burial, audited, balance_of, unbalanced
from worker.ledger.books import CHUNK, Sum
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.ledger.burials import Way
    from worker.ledger.store import Ledger

_ROWS: Final = "SELECT message_id, copies, dropped, replayed FROM dead_letters"


async def _counted(url: str, provider: str | None = None) -> tuple[int, int]:
    """How many were taken, and how many are dead-lettered; the books must balance."""
    balance = await balance_of(url, provider)
    assert balance.holds
    return balance.taken.count, balance.dead_lettered.count


async def test_a_message_without_an_id_counts_as_taken_and_buried(ledger: Ledger, url: str) -> None:
    """
    It has no row among the withdrawals, and is not forgotten.
    """
    await ledger.note_burial(a_burial())

    assert (1, 1) == await _counted(url)
    assert [] == await unbalanced(ledger)


async def test_its_money_counts_where_it_can_be_read(ledger: Ledger, url: str) -> None:
    """
    Provider, currency and amount stand on both sides.
    """
    await ledger.note_burial(a_burial(amount=Decimal("12.34")))
    balance = await balance_of(url)

    assert Sum(1, Decimal("12.34")) == balance.taken
    assert Sum(1, Decimal("12.34")) == balance.dead_lettered
    assert NOTHING == balance.difference


async def test_a_redelivery_after_a_crash_counts_nothing(ledger: Ledger, url: str) -> None:
    """
    Counted, then died before or after the publication: the broker's flag says that it came again.
    """
    for redelivered in (False, True, True):
        await ledger.note_burial(a_burial(redelivered=redelivered))

    assert (1, 1) == await _counted(url)


async def test_one_that_was_never_counted_counts_when_it_comes_again(
    ledger: Ledger, url: str
) -> None:
    """
    A message that was given back before it was looked at has the flag too.
    """
    await ledger.note_burial(a_burial(redelivered=True))

    assert (1, 1) == await _counted(url)


async def test_equal_messages_without_an_id_are_messages_of_their_own(
    ledger: Ledger, url: str
) -> None:
    """
    What the broker delivers for the first time is another copy; in one group too.
    """
    await asyncio.gather(*(ledger.note_burial(a_burial()) for _ in range(3)))
    await ledger.note_burial(a_burial())

    assert (4, 4) == await _counted(url)
    assert [(None, 4, 0, 0)] == await second.read(url, _ROWS)


async def test_a_message_with_an_id_counts_once_however_often_it_comes(
    ledger: Ledger, url: str
) -> None:
    """
    As for requests, a second publication under the same id is the same message.
    """
    await asyncio.gather(*(ledger.note_burial(a_burial("m-1")) for _ in range(3)))
    await ledger.note_burial(a_burial("m-1"))
    await ledger.note_burial(a_burial("m-1", body=b"other"))

    assert (2, 2) == await _counted(url)


async def test_a_request_that_the_ledger_knows_counts_once(ledger: Ledger, url: str) -> None:
    """
    An invalid request is recorded as rejected; its dead letter is no second request.
    """
    await ledger.take(refused("bad"), FINGERPRINT)
    await ledger.note_burial(a_burial("bad", fingerprint=FINGERPRINT))

    assert (1, 0) == await _counted(url)
    assert [] == await second.read(url, _ROWS)


async def test_a_request_of_the_same_group_counts_once(ledger: Ledger, url: str) -> None:
    """
    Also when it is written down in the very transaction in which it is buried.
    """
    await asyncio.gather(
        ledger.note_burial(a_burial("bad", fingerprint=FINGERPRINT)),
        ledger.take(refused("bad"), FINGERPRINT),
    )

    assert (1, 0) == await _counted(url)


async def test_poison_goes_by_its_name(ledger: Ledger, url: str) -> None:
    """
    It was not read; a request under its id is that message, and counts as what it is there.
    """
    await take(ledger, "req-1")
    await ledger.note_burial(a_burial("req-1", fingerprint=None))
    await ledger.note_burial(a_burial("req-2", fingerprint=None))
    request = await balance_of(url)

    assert Sum(1, Decimal(500)) == request.taken
    assert (1, 1) == await _counted(url)


async def test_an_id_that_was_used_before_is_another_message(ledger: Ledger, url: str) -> None:
    """
    Other content under a known id is nobody's request, and is buried as what it is.
    """
    await take(ledger, "req-1")
    await ledger.note_burial(a_burial("req-1", amount=Decimal(3)))
    balance = await balance_of(url)

    assert Sum(2, Decimal(503)) == balance.taken
    assert Sum(1, Decimal(500)) == balance.in_flight
    assert Sum(1, Decimal(3)) == balance.dead_lettered
    assert balance.holds


async def test_a_replayed_one_leaves_both_sides(ledger: Ledger, url: str) -> None:
    """
    It goes back to the queue; whoever takes it there counts it anew, as whatever it then is.
    """
    burial = a_burial("req-1", fingerprint=FINGERPRINT)
    await ledger.note_burial(burial)
    await ledger.dead_letter_left(burial.identity, "replayed")
    gone = await _counted(url)
    await ledger.take(taken_in(an_order("req-1")), FINGERPRINT)
    balance = await balance_of(url)

    assert (0, 0) == gone
    assert Sum(1, Decimal(500)) == balance.in_flight
    assert balance.holds
    assert [] == await unbalanced(ledger)


async def test_a_replayed_one_that_is_buried_again_counts_again(ledger: Ledger, url: str) -> None:
    """
    Once, whether or not the broker says that it came again.
    """
    for burial in (a_burial("m-1"), a_burial()):
        await ledger.note_burial(burial)
        await ledger.dead_letter_left(burial.identity, "replayed")
    for redelivered in (False, True, True):
        await ledger.note_burial(a_burial("m-1", redelivered=redelivered))
        await ledger.note_burial(a_burial(redelivered=redelivered))

    assert (2, 2) == await _counted(url)


async def test_a_dropped_one_stays_in_the_books(ledger: Ledger, url: str) -> None:
    """
    Nobody will be paid for it, and it was taken: it stays dead-lettered.
    """
    burial = a_burial()
    await ledger.note_burial(burial)
    await ledger.dead_letter_left(burial.identity, "dropped")
    rows = await second.read(url, _ROWS)

    assert (1, 1) == await _counted(url)
    assert [(None, 1, 1, 0)] == rows


async def test_leaving_twice_counts_once(ledger: Ledger, url: str) -> None:
    """
    A command that was interrupted and is repeated changes nothing more; of copies one leaves.
    """
    burial = a_burial()
    await ledger.note_burial(burial)
    await ledger.note_burial(burial)
    ways: list[Way] = ["dropped", "replayed", "replayed", "dropped"]
    for how in ways:
        await ledger.dead_letter_left(burial.identity, how)
    rows = await second.read(url, _ROWS)

    assert (1, 1) == await _counted(url)
    assert [(None, 1, 1, 1)] == rows


async def test_one_that_is_not_in_the_books_leaves_nothing(ledger: Ledger, url: str) -> None:
    """
    The dead letter of a recorded request may be replayed or dropped: the books stay as they are.
    """
    await ledger.take(refused("bad"), FINGERPRINT)
    burial = a_burial("bad", fingerprint=FINGERPRINT)
    await ledger.note_burial(burial)
    await ledger.dead_letter_left(burial.identity, "replayed")
    await ledger.dead_letter_left(burial.identity, "dropped")

    assert (1, 0) == await _counted(url)


async def test_replicas_that_bury_the_same_count_it_once(url: str) -> None:
    """
    Two that hold the same dead letters, in whatever order, agree and wait for nobody for ever.
    """
    burials = [a_burial(f"m-{n}") for n in range(60)]
    async with open_ledger(url) as one, open_ledger(url) as other:
        await asyncio.gather(
            *(one.note_burial(burial) for burial in burials),
            *(other.note_burial(burial) for burial in reversed(burials)),
        )

    assert (60, 60) == await _counted(url)


async def test_more_than_a_chunk_of_them_is_counted(ledger: Ledger, url: str) -> None:
    """
    The audit walks all of them.
    """
    count = CHUNK + 7
    await asyncio.gather(*(ledger.note_burial(a_burial(f"m-{n}")) for n in range(count)))
    books, _ = await audited(url)

    assert (count, count) == await _counted(url)
    assert count == books.checked["dead_letters"]


async def test_one_that_somebody_took_away_is_missing(ledger: Ledger, url: str) -> None:
    """
    A row deleted, or its amount altered, is a difference by count or by money.
    """
    await ledger.note_burial(a_burial("m-1", amount=Decimal(10)))
    await ledger.note_burial(a_burial("m-2", amount=Decimal(20)))
    await second.write(url, "UPDATE dead_letters SET amount_minor = 1 WHERE message_id = 'm-1'")
    altered = await balance_of(url)
    await second.write(url, "DELETE FROM dead_letters WHERE message_id = 'm-2'")
    deleted = await balance_of(url)

    assert Sum(0, Decimal("9.99")) == altered.difference
    assert Sum(1, Decimal("29.99")) == deleted.difference
    assert Sum(1, Decimal("29.99")) == deleted.miscounted
