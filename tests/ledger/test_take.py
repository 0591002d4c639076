"""Taking a request in: written down once, with the intent to pay, and found known ever after."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tests.ledger import second
from tests.ledger.builders import (
    FINGERPRINT,
    NOW,
    an_attempt,
    an_order,
    moved,
    refused,
    take,
    taken_in,
)
from worker.core.withdrawal import Status
from worker.ledger.rows import micros
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.ledger.store import Ledger

_OTHER: Final = b"g" * 32


async def test_a_request_is_new_once(ledger: Ledger) -> None:
    """
    The first time it is new; the same content again is known, and changes nothing.
    """
    first = await ledger.take(taken_in(), FINGERPRINT)
    again = await ledger.take(taken_in(now=NOW + timedelta(hours=1)), FINGERPRINT)

    assert (True, True) == (first.is_new, first.same)
    assert (False, True) == (again.is_new, again.same)
    assert first.held == again.held


async def test_the_same_id_with_other_content_is_told_apart(ledger: Ledger) -> None:
    """
    A reused message id finds the first request, untouched, and is told that its content differs.
    """
    first = await ledger.take(taken_in(), FINGERPRINT)
    reused = await ledger.take(taken_in(an_order(party_id="inv_02")), _OTHER)

    assert (False, False) == (reused.is_new, reused.same)
    assert first.held == reused.held


async def test_a_known_request_is_found_as_it_stands_now(ledger: Ledger) -> None:
    """
    A redelivery is told what became of the request meanwhile.
    """
    held = await take(ledger, "req-1")
    recorded = await ledger.record(held, moved(held, Status.PENDING, withdrawal_id="wd_01"))
    again = await ledger.take(taken_in(), FINGERPRINT)

    assert recorded == again.held
    assert "wd_01" == again.held.withdrawal.withdrawal_id


async def test_of_many_with_one_id_exactly_one_is_new(ledger: Ledger, url: str) -> None:
    """
    However many tasks bring a message at once, in one group or in several, one request comes of it.
    """
    taken = await asyncio.gather(
        *(ledger.take(taken_in(), FINGERPRINT, (an_attempt(),)) for _ in range(250))
    )
    told = await second.read(url, "SELECT sequence FROM events")

    assert 1 == sum(t.is_new for t in taken)
    assert 1 == len({t.held.row for t in taken})
    assert [(1,)] == told


async def test_of_two_replicas_one_takes_a_request_in(ledger: Ledger, url: str) -> None:
    """
    The same messages at two replicas at once, in opposite order: each is new at one of them only.
    """
    ids = [f"req-{number}" for number in range(100)]
    async with open_ledger(url) as other:
        taken = await asyncio.gather(
            *(ledger.take(taken_in(an_order(i)), FINGERPRINT) for i in ids),
            *(other.take(taken_in(an_order(i)), FINGERPRINT) for i in reversed(ids)),
        )
    new = [t.held.withdrawal.order.message_id for t in taken if t.is_new]

    assert ids == sorted(new, key=ids.index)


async def test_of_two_with_one_id_and_other_content_the_first_counts(ledger: Ledger) -> None:
    """
    In one group the one that came first is written down; the other is told that it differs.
    """
    first, other = await asyncio.gather(
        ledger.take(taken_in(an_order(party_id="inv_01")), FINGERPRINT),
        ledger.take(taken_in(an_order(party_id="inv_02")), _OTHER),
    )

    assert (True, True) == (first.is_new, first.same)
    assert (False, False) == (other.is_new, other.same)
    assert "inv_01" == other.held.withdrawal.order.party_id


async def test_each_of_a_group_gets_its_own_row(ledger: Ledger) -> None:
    """
    Results are not mixed up: who took in an id holds the row of that id.
    """
    ids = [f"req-{number}" for number in range(300)]
    held = await asyncio.gather(*(take(ledger, message_id) for message_id in ids))
    found = [await ledger.history(message_id) for message_id in ids[::20]]

    assert ids == [h.withdrawal.order.message_id for h in held]
    assert held[::20] == [history.held for history in found if history is not None]


async def test_an_invalid_request_is_written_down_with_what_is_known(ledger: Ledger) -> None:
    """
    Its id is spent and its refusal is told, though provider, party and amount are not known.
    """
    taken = await ledger.take(refused("req-1"), FINGERPRINT)
    history = await ledger.history("req-1")

    assert history is not None
    assert taken.held == history.held
    assert refused("req-1").withdrawal == history.held.withdrawal
    assert ["withdrawal.rejected"] == [event["type"] for event in history.events]
    assert () == history.attempts


async def test_the_intent_is_durable_once_take_returns(ledger: Ledger, url: str) -> None:
    """
    Before the create call can leave, key, exact bytes, first attempt and doubt are committed.
    """
    order = an_order(body=b'{"note": "\xc3\xa9", "spaces" :  1}\n')
    await ledger.take(taken_in(order), FINGERPRINT, (an_attempt(),))
    [intent] = await second.read(
        url,
        "SELECT idempotency_key, body, first_attempt_at, CAST(in_doubt AS INTEGER), attempts, owner"
        " FROM withdrawals",
    )
    [attempt] = await second.read(url, "SELECT number, started_at, ended_at, outcome FROM attempts")

    assert (order.idempotency_key, order.body, micros(NOW), 1, 1, ledger.replica) == intent
    assert (1, micros(NOW), None, None) == attempt


async def test_a_request_that_is_finished_belongs_to_nobody(ledger: Ledger, url: str) -> None:
    """
    Nobody has to go on with what was refused at the door.
    """
    await ledger.take(refused("req-1"), FINGERPRINT)
    [row] = await second.read(url, "SELECT owner, due_at, finished_at FROM withdrawals")

    assert (None, None, micros(NOW)) == row
