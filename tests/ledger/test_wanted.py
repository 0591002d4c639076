"""The list of withdrawals: which ones, in which order, however many there are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.ledger.builders import FINGERPRINT, NOW, SECOND, an_order, moved, taken_in
from worker.core.withdrawal import Status
from worker.ledger.queries import Wanted

if TYPE_CHECKING:
    from datetime import datetime

    from worker.ledger.store import Ledger

#: Message id, status, seconds after NOW at which it was taken in, and what else is its own.
_ROWS: Final[list[tuple[str, Status, int, dict[str, Any]]]] = [
    ("first-done", Status.COMPLETED, 0, {}),
    ("parked", Status.UNRESOLVED, 1, {}),
    ("other-party", Status.PENDING, 2, {"party_id": "inv_02"}),
    ("failed", Status.FAILED, 3, {}),
    ("other-provider", Status.PENDING, 4, {"provider": "upvest"}),
    ("new", Status.RECEIVED, 5, {}),
    ("last-done", Status.COMPLETED, 6, {"party_id": "inv_02"}),
]
#: Another replica's, whose commit came late.
_LATE: Final[tuple[str, Status, int, dict[str, Any]]] = ("late-row", Status.COMPLETED, -600, {})


async def _fill(ledger: Ledger, *others: tuple[str, Status, int, dict[str, Any]]) -> None:
    for message_id, status, after, changes in (*_ROWS, *others):
        at = NOW + after * SECOND
        order = an_order(message_id, taken_at=at, **changes)
        held = (await ledger.take(taken_in(order, now=at), FINGERPRINT)).held
        if status is not Status.RECEIVED:
            await ledger.record(held, moved(held, status, withdrawal_id=f"wd-{message_id}"))


async def _ids(ledger: Ledger, limit: int = 50, **wanted: Any) -> list[str]:  # noqa: ANN401
    found = await ledger.wanted(Wanted(**wanted), limit=limit)
    return [withdrawal.order.message_id for withdrawal in found]


async def test_by_default_what_is_unfinished(ledger: Ledger) -> None:
    """
    The oldest first; what waits for a person is among it.
    """
    await _fill(ledger)

    assert ["parked", "other-party", "other-provider", "new"] == await _ids(ledger)


async def test_finished_and_unfinished_come_in_one_order(ledger: Ledger) -> None:
    """
    By when they were taken in, not by when they were written.
    """
    await _fill(ledger, _LATE)
    statuses = frozenset({Status.COMPLETED, Status.PENDING, Status.FAILED})

    assert [
        "late-row",
        "first-done",
        "other-party",
        "failed",
        "other-provider",
        "last-done",
    ] == await _ids(ledger, statuses=statuses)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"statuses": frozenset({Status.UNRESOLVED})}, ["parked"]),
        ({"provider": "upvest"}, ["other-provider"]),
        ({"party_id": "inv_02"}, ["other-party"]),
        ({"since": NOW + 4 * SECOND}, ["other-provider", "new"]),
        ({"since": NOW + 9 * SECOND}, []),
        ({"statuses": frozenset({Status.COMPLETED}), "party_id": "inv_02"}, ["last-done"]),
        ({"statuses": frozenset({Status.COMPLETED}), "since": NOW + SECOND}, ["last-done"]),
        ({"statuses": frozenset({Status.COMPLETED}), "provider": "upvest"}, []),
    ],
    ids=str,
)
async def test_every_condition_has_to_fit(
    ledger: Ledger, wanted: dict[str, Any], ids: list[str]
) -> None:
    """
    Alone and together.
    """
    await _fill(ledger)

    assert ids == await _ids(ledger, **wanted)


@pytest.mark.parametrize("limit", [1, 3])
async def test_the_limit_keeps_the_oldest(ledger: Ledger, limit: int) -> None:
    """
    Of finished and unfinished ones together.
    """
    await _fill(ledger)
    statuses = frozenset(Status)
    every = await _ids(ledger, statuses=statuses)

    assert len(_ROWS) == len(every)
    assert every[:limit] == await _ids(ledger, limit, statuses=statuses)


@pytest.mark.parametrize("hours", [-1, 0, 1, 5, 11, 12, 40, 99])
async def test_the_beginning_of_a_span_is_found_by_halving(ledger: Ledger, hours: int) -> None:
    """
    Wherever it lies: before the first row, between two, or after the last.
    """
    taken = [NOW + timedelta(hours=2 * n) for n in range(12)]
    for number, at in enumerate(taken):
        await _done(ledger, f"req-{number}", at)
    since = NOW + timedelta(hours=hours)

    assert [f"req-{n}" for n, at in enumerate(taken) if at >= since] == await _ids(
        ledger, statuses=frozenset({Status.COMPLETED}), since=since
    )


async def test_an_empty_ledger_lists_nothing(ledger: Ledger) -> None:
    """
    Finished or not, with a span or without.
    """
    assert [] == await _ids(ledger)
    assert [] == await _ids(ledger, statuses=frozenset(Status), since=NOW)


async def _done(ledger: Ledger, message_id: str, at: datetime) -> None:
    order = an_order(message_id, taken_at=at)
    held = (await ledger.take(taken_in(order, now=at), FINGERPRINT)).held
    await ledger.record(held, moved(held, Status.COMPLETED, withdrawal_id=f"wd-{message_id}"))
