"""Recording what follows: one commit with its events and history, and only for who still holds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.ledger import second
from tests.ledger.builders import (
    FINGERPRINT,
    NOW,
    SECOND,
    an_attempt,
    an_order,
    due,
    moved,
    take,
    taken_in,
)
from worker.core.answers import Trace
from worker.core.change import Decision
from worker.core.events import event
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.flows.ports import StepRefused
from worker.ledger.rows import micros

if TYPE_CHECKING:
    from worker.ledger.store import Ledger

_TABLES = ("withdrawals", "transitions", "events", "attempts")


async def test_a_change_is_committed_with_all_that_tells_of_it(ledger: Ledger, url: str) -> None:
    """
    State, transition, event and the ended attempt are there together once record returns.
    """
    held = (await ledger.take(taken_in(), FINGERPRINT, (an_attempt(),))).held
    reason = Reason(ReasonCode.REFUSED, "BLUM-400")
    decision = moved(
        held,
        Status.PENDING,
        now=NOW + SECOND,
        withdrawal_id="wd_01",
        provider_status="pending",
        reason=reason,
    )
    trace = Trace(201, "BLUM-1", "r-1", "what the provider wrote")
    ended = an_attempt(ended_at=NOW + SECOND, outcome="reported", trace=trace)
    recorded = await ledger.record(held, decision, (ended,))
    withdrawals = await second.read(
        url, "SELECT status, sequence, withdrawal_id, changed_at FROM withdrawals"
    )
    transitions = await second.read(
        url,
        "SELECT sequence, status, previous_status, provider_status, reason_code,"
        " reason_provider_code, CAST(reversal AS INTEGER), cause, at FROM transitions"
        " WHERE sequence = 2",
    )
    events = await second.read(
        url,
        "SELECT event_id, type, body, created_at, published_at FROM events WHERE sequence = 2",
    )
    attempts = await second.read(
        url,
        "SELECT number, started_at, ended_at, outcome, http_status, provider_code, request_id,"
        " provider_text FROM attempts",
    )
    later = micros(NOW + SECOND)
    told = event(decision.withdrawal, decision.changes[0])

    assert recorded is not None
    assert (held.row, held.version + 1) == (recorded.row, recorded.version)
    assert decision.withdrawal == recorded.withdrawal
    assert [("pending", 2, "wd_01", later)] == withdrawals
    assert [
        (2, "pending", "received", "pending", "refused", "BLUM-400", 0, "look", later)
    ] == transitions
    assert [(told.event_id, told.type, told.body, later, None)] == events
    assert [
        (1, micros(NOW), later, "reported", 201, "BLUM-1", "r-1", "what the provider wrote")
    ] == attempts


async def test_who_holds_an_old_version_changes_nothing(ledger: Ledger, url: str) -> None:
    """
    A stale holder is told None, and not a single row of its decision is written.
    """
    stale = await take(ledger, "req-1")
    await ledger.record(stale, moved(stale, Status.PENDING))
    before = [await second.read(url, f"SELECT * FROM {table}") for table in _TABLES]  # noqa: S608
    refused = await ledger.record(
        stale, moved(stale, Status.COMPLETED, withdrawal_id="wd_01"), (an_attempt(2),)
    )
    after = [await second.read(url, f"SELECT * FROM {table}") for table in _TABLES]  # noqa: S608

    assert refused is None
    assert before == after


async def test_of_two_that_hold_the_same_version_one_wins(ledger: Ledger, url: str) -> None:
    """
    Also in one group: the first is recorded, the second is told None, and one event is told.
    """
    held = await take(ledger, "req-1")
    first, other = await asyncio.gather(
        ledger.record(held, moved(held, Status.COMPLETED)),
        ledger.record(held, moved(held, Status.FAILED)),
    )
    told = await second.read(url, "SELECT type FROM events WHERE sequence > 1")

    assert first is not None
    assert other is None
    assert [("withdrawal.completed",)] == told


async def test_of_two_that_change_quietly_one_wins_too(ledger: Ledger) -> None:
    """
    Also where no event's number would give the second one away.
    """
    held = await take(ledger, "req-1")
    first, other = await asyncio.gather(
        ledger.record(held, due(held, NOW)), ledger.record(held, due(held, None))
    )
    history = await ledger.history("req-1")

    assert other is None
    assert history is not None
    assert first == history.held


async def test_a_row_that_does_not_exist_is_nobodys(ledger: Ledger) -> None:
    """
    A holder of what was never written is told None.
    """
    held = await take(ledger, "req-1")
    nowhere = replace(held, row=held.row + 1)

    assert await ledger.record(nowhere, due(nowhere, NOW)) is None


async def test_the_sequence_of_events_has_no_gap(ledger: Ledger) -> None:
    """
    Whatever is recorded in between, a withdrawal's events are numbered 1, 2, 3 and so on.
    """
    held = await take(ledger, "req-1")
    for status in (Status.PENDING, Status.PROCESSING, Status.SUBMITTED, Status.COMPLETED):
        told = await ledger.record(held, moved(held, status))
        assert told is not None
        quiet = await ledger.record(told, due(told, NOW))
        assert quiet is not None
        held = quiet
    history = await ledger.history("req-1")

    assert history is not None
    assert [1, 2, 3, 4, 5] == [row["sequence"] for row in history.events]
    assert [1, 2, 3, 4, 5] == [row["sequence"] for row in history.transitions]
    assert 5 == history.held.withdrawal.sequence


async def test_a_number_that_was_told_is_never_told_again(ledger: Ledger) -> None:
    """
    The database itself refuses a second event of one number.
    """
    held = await take(ledger, "req-1")
    once = await ledger.record(held, moved(held, Status.PENDING))
    assert once is not None
    with pytest.raises(StepRefused):
        await ledger.record(once, moved(held, Status.PROCESSING))
    history = await ledger.history("req-1")

    assert history is not None
    assert once == history.held


async def test_the_bytes_of_an_event_stay_as_committed(ledger: Ledger, url: str) -> None:
    """
    What was told is not told otherwise later, however the withdrawal goes on.
    """
    held = await take(ledger, "req-1")
    [(before,)] = await second.read(url, "SELECT body FROM events")
    ended = await ledger.record(held, moved(held, Status.COMPLETED, withdrawal_id="wd_01"))
    [(after,)] = await second.read(url, "SELECT body FROM events WHERE sequence = 1")

    assert ended is not None
    assert before == after
    assert json.loads(after)["withdrawal_id"] is None


async def test_an_attempt_is_begun_once_and_ended_once(ledger: Ledger) -> None:
    """
    The end is written to the attempt that was begun; when it began stays as it was.
    """
    held = (await ledger.take(taken_in(), FINGERPRINT, (an_attempt(),))).held
    ended = an_attempt(started_at=NOW + SECOND, ended_at=NOW + 2 * SECOND, outcome="unclear")
    again = an_attempt(2, started_at=NOW + 3 * SECOND, ended_at=None)
    await ledger.record(held, due(held, NOW), (ended, again))
    history = await ledger.history("req-1")

    assert history is not None
    assert [
        (1, micros(NOW), micros(NOW + 2 * SECOND), "unclear"),
        (2, micros(NOW + 3 * SECOND), None, None),
    ] == [(a["number"], a["started_at"], a["ended_at"], a["outcome"]) for a in history.attempts]


async def test_one_withdrawal_of_the_provider_belongs_to_one_request(ledger: Ledger) -> None:
    """
    Of a group, the step that takes an id that is taken is refused; every other one succeeds.
    """
    held = [await take(ledger, f"req-{number}") for number in range(5)]
    await ledger.record(held[0], moved(held[0], Status.PENDING, withdrawal_id="wd_01"))
    ids = ["wd_02", "wd_03", "wd_01", "wd_04"]
    results = await asyncio.gather(
        *(
            ledger.record(h, moved(h, Status.PENDING, withdrawal_id=withdrawal_id))
            for h, withdrawal_id in zip(held[1:], ids, strict=True)
        ),
        return_exceptions=True,
    )
    history = await ledger.history("req-3")

    assert [True, True, False, True] == [not isinstance(r, StepRefused) for r in results]
    assert ["wd_02", "wd_03", "wd_04"] == [
        r.withdrawal.withdrawal_id
        for r in results
        if r is not None and not isinstance(r, BaseException)
    ]
    assert history is not None
    assert held[3] == history.held
    assert [1] == [row["sequence"] for row in history.events]


async def test_two_in_one_group_cannot_take_one_id_either(ledger: Ledger) -> None:
    """
    One of them has it, the other is refused.
    """
    held = [await take(ledger, f"req-{number}") for number in range(2)]
    results = await asyncio.gather(
        *(ledger.record(h, moved(h, Status.PENDING, withdrawal_id="wd_01")) for h in held),
        return_exceptions=True,
    )

    assert [False, True] == [isinstance(r, StepRefused) for r in results]


async def test_two_providers_may_use_one_id(ledger: Ledger) -> None:
    """
    An id is a provider's own; another's may look the same.
    """
    bluum = await take(ledger, "req-1")
    order = an_order("req-2", provider="upvest")
    upvest = (await ledger.take(taken_in(order), FINGERPRINT)).held
    results = [
        await ledger.record(held, moved(held, Status.PENDING, withdrawal_id="wd_01"))
        for held in (bluum, upvest)
    ]

    assert None not in results


@pytest.mark.parametrize("keep", [False, True])
async def test_who_keeps_a_withdrawal_goes_on_owning_it(
    ledger: Ledger, url: str, *, keep: bool
) -> None:
    """
    With `keep` it stays this replica's; without, it is free for whoever finds it due.
    """
    held = await take(ledger, "req-1")
    await ledger.record(held, Decision(held.withdrawal), keep=keep)

    assert [(ledger.replica if keep else None,)] == await second.read(
        url, "SELECT owner FROM withdrawals"
    )


async def test_only_a_finished_withdrawal_has_an_end(ledger: Ledger, url: str) -> None:
    """
    `finished_at` is set with a terminal status, and not by one that waits for a person.
    """
    held = [await take(ledger, f"req-{number}") for number in range(3)]
    statuses = (Status.UNRESOLVED, Status.PENDING, Status.FAILED)
    for h, status in zip(held, statuses, strict=True):
        await ledger.record(h, moved(h, status, now=NOW + SECOND))

    assert [(None,), (None,), (micros(NOW + SECOND),)] == await second.read(
        url, "SELECT finished_at FROM withdrawals ORDER BY id"
    )
