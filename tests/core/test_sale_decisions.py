"""What follows from each answer about an order. No silence sells, and no silence fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.core.builders import NOW, PATIENCE, SECOND, an_order
from tests.core.sale_builders import (
    CANCEL,
    CANCELLED,
    CLOSED,
    FAILED,
    FILLED,
    NOT_PLACED,
    OPEN,
    PARTIAL,
    PLANNED,
    REFUSED,
    SILENCE,
    TOO_FEW,
    UNKNOWN,
    a_report,
    a_sale,
    looked_for,
    placed,
    seen,
    selling,
    statuses,
)
from worker.core.answers import Conflicted, Denied, Throttled, Trace, Unclear
from worker.core.limits import (
    EMPTY_LOOKUPS_NEEDED,
    FRESH_ATTEMPTS_END_AFTER,
    LOOKUPS_GIVEN_UP_AFTER,
    LOOKUPS_IN_VAIN_MAX,
)
from worker.core.sale import Found
from worker.core.selling import CLOSED_MARKET_WAITED_FOR, adopted_order
from worker.core.withdrawal import Reason, ReasonCode, Status

if TYPE_CHECKING:
    from worker.core.change import Decision
    from worker.core.sale import OrderAnswer, OrdersAnswer, SaleStatus
    from worker.core.withdrawal import Withdrawal

SETTLED: Final = NOW + PATIENCE.settling
FIRST_LOOK: Final = PATIENCE.looks.first_delay
#: An order that was called for before; the list said that nothing came of it.
DOUBTED_BEFORE: Final = a_sale(first_attempt_at=NOW, attempts=1)


def told(decision: Decision) -> list[tuple[Status, ReasonCode | None]]:
    """What has to be told, and why."""
    return [
        (change.status, None if change.reason is None else change.reason.code)
        for change in decision.changes
    ]


def due_in(decision: Decision) -> timedelta | None:
    """When it is to be taken up again."""
    due_at = decision.withdrawal.due_at
    return None if due_at is None else due_at - NOW


# --- placing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "status", "events", "due"),
    [
        # The next is placed at once; the last one's placing is told, and waited for.
        (selling(PLANNED, PLANNED), OPEN, [], 0 * SECOND),
        (selling(PLANNED), OPEN, [(Status.RAISING_CASH, None)], FIRST_LOOK),
        (selling(PLANNED), PARTIAL, [(Status.RAISING_CASH, None)], FIRST_LOOK),
        (selling(PLANNED), FILLED, [(Status.RAISING_CASH, None)], 0 * SECOND),
        (selling(PLANNED, FILLED), FILLED, [(Status.RAISING_CASH, None)], 0 * SECOND),
        (selling(PLANNED, OPEN), FAILED, [], 0 * SECOND),
        (selling(PLANNED), FAILED, [(Status.REJECTED, ReasonCode.SALE_ENDED)], None),
        (
            selling(PLANNED, status=Status.RAISING_CASH),
            CANCELLED,
            [(Status.REJECTED, ReasonCode.SALE_ENDED)],
            None,
        ),
        (selling(PLANNED, OPEN, **CANCEL), OPEN, [], 0 * SECOND),
    ],
)
def test_an_order_that_was_taken_leads_on(
    before: Withdrawal,
    status: SaleStatus,
    events: list[tuple[Status, ReasonCode | None]],
    due: timedelta | None,
) -> None:
    """
    To the next order, to waiting for fills, to the withdrawal, or to the end.
    """
    decision = placed(before, a_report(0, status))

    assert status is decision.withdrawal.sales[0].status
    assert events == told(decision)
    assert due == due_in(decision)


def test_what_the_provider_says_is_kept() -> None:
    """
    Its id, its word, what was sold and for how much; an unknown word is an order that rests.
    """
    report = a_report(0, None, filled_quantity="1", average_price="10.5")
    sale = placed(selling(PLANNED), report).withdrawal.sales[0]
    again = seen(selling(replace(sale, status=PARTIAL)), replace(report, filled_quantity="0.5"))

    assert (OPEN, "ord_0", "new", "1", "10.5") == (
        sale.status,
        sale.order_id,
        sale.provider_status,
        sale.filled_quantity,
        sale.average_price,
    )
    assert (PARTIAL, "1") == (
        again.withdrawal.sales[0].status,
        again.withdrawal.sales[0].filled_quantity,
    )


def test_a_fill_of_which_no_quantity_is_shown_is_whole() -> None:
    """
    The word says so.
    """
    filled = placed(selling(PLANNED), a_report(0, FILLED, filled_quantity=None))

    assert "3" == filled.withdrawal.sales[0].filled_quantity


@pytest.mark.parametrize("answer", [SILENCE, Conflicted(Trace(provider_code="B-9"))])
def test_silence_and_conflict_are_looked_up(answer: OrderAnswer) -> None:
    """
    Nothing is placed, and nothing is told.
    """
    sale = placed(selling(PLANNED), answer).withdrawal.sales[0]
    held_back = Reason(ReasonCode.OUTCOME_UNKNOWN, "B-9")

    assert (UNKNOWN, NOW, NOW, 1) == (
        sale.status,
        sale.first_attempt_at,
        sale.last_attempt_at,
        sale.attempts,
    )
    assert (held_back if isinstance(answer, Conflicted) else None) == sale.reason


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Unclear("http_503", timedelta(seconds=90)), 90),
        (Unclear("timeout"), 0.5),
        (Throttled(timedelta(seconds=30)), 30),
        (Throttled(), 1),
        (Denied(), 15),
    ],
)
def test_who_asks_for_patience_gets_it(answer: OrderAnswer, seconds: float) -> None:
    """
    And what was turned away at the door is in no doubt.
    """
    decision = placed(selling(PLANNED), answer)
    unknown = isinstance(answer, Unclear)

    assert timedelta(seconds=seconds) == due_in(decision)
    assert [UNKNOWN if unknown else PLANNED] == statuses(decision.withdrawal)
    assert unknown is (decision.withdrawal.sales[0].first_attempt_at is not None)


def test_a_refusal_of_a_first_call_is_final() -> None:
    """
    The others are cancelled first; with none it ends at once.
    """
    alone, among = placed(selling(PLANNED), TOO_FEW), placed(selling(PLANNED, OPEN), TOO_FEW)

    assert [(Status.REJECTED, ReasonCode.SALE_REFUSED)] == told(alone)
    assert "B-4" == (alone.withdrawal.reason and alone.withdrawal.reason.provider_code)
    assert ([], 0 * SECOND, [REFUSED, OPEN]) == (
        told(among),
        due_in(among),
        statuses(among.withdrawal),
    )


def test_a_refusal_after_a_doubt_is_held() -> None:
    """
    The silent call may have sold the shares: it is final once the list has shown nothing again.
    """
    decision = placed(selling(DOUBTED_BEFORE), TOO_FEW)
    kept = decision.withdrawal.sales[0]
    for turn in range(1, EMPTY_LOOKUPS_NEEDED + 1):
        decision = looked_for(decision.withdrawal, now=NOW + turn * PATIENCE.settling)

    assert (UNKNOWN, TOO_FEW.reason) == (kept.status, kept.reason)
    assert [(Status.REJECTED, ReasonCode.SALE_REFUSED)] == told(decision)


@pytest.mark.parametrize(
    ("order", "until"),
    [
        (an_order(), CLOSED_MARKET_WAITED_FOR),
        (an_order(not_after=NOW + timedelta(days=9)), timedelta(days=9)),
        (an_order(wait_for_funds_until=NOW + timedelta(hours=1)), timedelta(hours=1)),
        (
            an_order(
                not_after=NOW + timedelta(hours=2), wait_for_funds_until=NOW + timedelta(hours=3)
            ),
            timedelta(hours=2),
        ),
    ],
    ids=range(4),
)
def test_a_closed_market_is_waited_for(order: object, until: timedelta) -> None:
    """
    On the growing schedule, until the request's own time or four days: then it was refused.
    """
    before = selling(PLANNED, order=order, looks=1)
    waiting = placed(before, CLOSED)
    nearly = placed(before, CLOSED, now=NOW + until - SECOND)
    over = placed(before, CLOSED, now=NOW + until)

    assert ([PLANNED], 2 * FIRST_LOOK, 2, []) == (
        statuses(waiting.withdrawal),
        due_in(waiting),
        waiting.withdrawal.looks,
        told(waiting),
    )
    assert until == due_in(nearly)
    assert [(Status.REJECTED, ReasonCode.SALE_REFUSED)] == told(over)
    assert "B-2" == (over.withdrawal.reason and over.withdrawal.reason.provider_code)


# --- looking for it -------------------------------------------------------------------------------


def test_what_carries_our_key_is_adopted() -> None:
    """
    Likeness beside it does not matter; the sale goes on with what the provider holds.
    """
    lookalike = a_report(7, client_order_id=None)
    decision = looked_for(selling(UNKNOWN, PLANNED), Found((a_report(),), (lookalike,)))

    assert ([OPEN, PLANNED], 0 * SECOND) == (statuses(decision.withdrawal), due_in(decision))
    assert "ord_0" == decision.withdrawal.sales[0].order_id


@pytest.mark.parametrize(
    "found",
    [
        Found((a_report(0), a_report(1))),
        Found((), (a_report(client_order_id=None),)),
    ],
    ids=["several", "likeness"],
)
def test_what_cannot_be_told_apart_needs_a_person(found: Found) -> None:
    """
    Nothing more is done by itself.
    """
    decision = looked_for(selling(UNKNOWN, OPEN), found)

    assert [(Status.UNRESOLVED, ReasonCode.SEVERAL_CANDIDATES)] == told(decision)
    assert (None, [UNKNOWN, OPEN]) == (due_in(decision), statuses(decision.withdrawal))


def test_nothing_counts_when_it_was_nothing_three_times() -> None:
    """
    A settling delay apart; then it is placed again, at once, and the doubt is remembered.
    """
    before, steps = selling(UNKNOWN, looks=9), []
    for turn in range(EMPTY_LOOKUPS_NEEDED):
        now = NOW + turn * PATIENCE.settling
        before = looked_for(before, now=now).withdrawal
        steps.append((statuses(before), before.due_at and before.due_at - now))

    waiting = ([UNKNOWN], PATIENCE.settling)
    assert [waiting, waiting, ([PLANNED], 0 * SECOND)] == steps
    assert (NOW, 0) == (before.sales[0].first_attempt_at, before.sales[0].empty_lookups)


def test_looks_in_between_do_not_count() -> None:
    """
    However often it is woken: the list needs its time.
    """
    once = looked_for(selling(UNKNOWN)).withdrawal
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        once = looked_for(once, now=SETTLED - SECOND).withdrawal

    assert (1, SETTLED) == (once.sales[0].empty_lookups, once.due_at)


def test_a_list_of_orders_counts_from_when_it_was_asked_for() -> None:
    """
    Asked for too early, it says too little, however long its answer took.
    """
    once = looked_for(selling(UNKNOWN)).withdrawal

    early = looked_for(once, asked_at=SETTLED - SECOND, now=SETTLED + SECOND).withdrawal
    late = looked_for(early, asked_at=SETTLED, now=SETTLED + SECOND).withdrawal

    assert (1, 2) == (early.sales[0].empty_lookups, late.sales[0].empty_lookups)


@pytest.mark.parametrize(
    ("before", "events", "sales"),
    [
        (
            selling(a_sale(0, UNKNOWN, reason=Reason(ReasonCode.OUTCOME_UNKNOWN, "B-9"))),
            [(Status.UNRESOLVED, ReasonCode.OUTCOME_UNKNOWN)],
            [UNKNOWN],
        ),
        (
            selling(UNKNOWN, **CANCEL),
            [(Status.CANCELLED, ReasonCode.CANCELLED_ON_REQUEST)],
            [NOT_PLACED],
        ),
        (selling(UNKNOWN, OPEN, **CANCEL), [], [PLANNED, OPEN]),
        (
            selling(UNKNOWN, order=an_order(taken_at=NOW - FRESH_ATTEMPTS_END_AFTER)),
            [(Status.UNRESOLVED, ReasonCode.OUTCOME_UNKNOWN)],
            [UNKNOWN],
        ),
        (
            selling(
                UNKNOWN,
                order=an_order(
                    taken_at=NOW - FRESH_ATTEMPTS_END_AFTER, not_after=NOW + timedelta(days=1)
                ),
            ),
            [],
            [PLANNED],
        ),
        (
            selling(UNKNOWN, order=an_order(taken_at=NOW - FRESH_ATTEMPTS_END_AFTER), **CANCEL),
            [(Status.CANCELLED, ReasonCode.CANCELLED_ON_REQUEST)],
            [NOT_PLACED],
        ),
    ],
    ids=["conflict", "unwanted", "unwanted, others rest", "old", "old but wanted", "old, unwanted"],
)
def test_nothing_found_leads_on(
    before: Withdrawal,
    events: list[tuple[Status, ReasonCode | None]],
    sales: list[SaleStatus],
) -> None:
    """
    A known key that is not listed, and what is too old, need a person; the unwanted ends.
    """
    seen_twice = replace(before.sales[0], empty_lookups=EMPTY_LOOKUPS_NEEDED - 1)
    decision = looked_for(replace(before, sales=(seen_twice, *before.sales[1:])))

    assert events == told(decision)
    assert sales == statuses(decision.withdrawal)


FORGOTTEN: Final = NOW + PATIENCE.window
HOPELESS: Final = FORGOTTEN + LOOKUPS_GIVEN_UP_AFTER


@pytest.mark.parametrize(
    ("answer", "now", "looks", "is_parked"),
    [
        (TOO_FEW, FORGOTTEN - SECOND, 99, False),
        (TOO_FEW, FORGOTTEN, 0, True),
        (SILENCE, HOPELESS, LOOKUPS_IN_VAIN_MAX - 2, False),
        (SILENCE, HOPELESS, LOOKUPS_IN_VAIN_MAX - 1, True),
        (SILENCE, HOPELESS - SECOND, 99, False),
        (Throttled(), HOPELESS, 99, True),
        (Denied(), HOPELESS, 99, False),
    ],
)
def test_a_list_that_cannot_be_read_is_read_again(
    answer: OrdersAnswer, now: object, looks: int, *, is_parked: bool
) -> None:
    """
    Until that is hopeless; our credentials are no reason to give up.
    """
    assert isinstance(now, type(NOW))
    decision = looked_for(selling(UNKNOWN, looks=looks), answer=answer, now=now)
    parked = [(Status.UNRESOLVED, ReasonCode.OUTCOME_UNKNOWN)]

    assert (parked if is_parked else []) == told(decision)
    assert is_parked or decision.withdrawal.due_at == now + PATIENCE.looks.delay(looks, chance=0.5)
    assert [UNKNOWN] == statuses(decision.withdrawal)


def test_a_list_that_asks_for_patience_gets_it() -> None:
    """
    However few looks there were.
    """
    decision = looked_for(selling(UNKNOWN), answer=Unclear("http_503", timedelta(hours=1)))

    assert timedelta(hours=1) == due_in(decision)


# --- reading --------------------------------------------------------------------------------------

RAISING: Final = {"status": Status.RAISING_CASH}


@pytest.mark.parametrize(
    ("before", "answers", "sales", "events", "due"),
    [
        # Nothing new: later and later.
        (selling(OPEN, **RAISING, looks=2), [a_report()], [OPEN], [], 4 * FIRST_LOOK),
        (selling(OPEN, **RAISING), [TOO_FEW], [OPEN], [], FIRST_LOOK),
        (selling(OPEN, **RAISING), [Throttled(timedelta(hours=1))], [OPEN], [], timedelta(hours=1)),
        (selling(OPEN, **RAISING), [a_report(5, FILLED)], [OPEN], [], FIRST_LOOK),
        # Something new: soon again, or at once.
        (selling(OPEN, **RAISING, looks=9), [a_report(0, PARTIAL)], [PARTIAL], [], FIRST_LOOK),
        (selling(OPEN, **RAISING), [a_report(0, FILLED)], [FILLED], [], 0 * SECOND),
        (
            selling(OPEN, OPEN, **RAISING),
            [a_report(0, FILLED), SILENCE],
            [FILLED, OPEN],
            [],
            FIRST_LOOK,
        ),
        (
            selling(OPEN, OPEN, **RAISING),
            [a_report(0, FAILED), a_report(1)],
            [FAILED, OPEN],
            [],
            0 * SECOND,
        ),
        (
            selling(OPEN, **RAISING),
            [a_report(0, CANCELLED)],
            [CANCELLED],
            [(Status.REJECTED, ReasonCode.SALE_ENDED)],
            None,
        ),
        # Given up: until each has ended.
        (
            selling(OPEN, OPEN, **RAISING, **CANCEL, looks=9),
            [a_report(0, CANCELLED), a_report(1)],
            [CANCELLED, OPEN],
            [],
            FIRST_LOOK,
        ),
        (
            selling(OPEN, **RAISING, **CANCEL, looks=2),
            [SILENCE],
            [OPEN],
            [],
            4 * FIRST_LOOK,
        ),
        (
            selling(OPEN, **RAISING, **CANCEL),
            [a_report(0, FILLED)],
            [FILLED],
            [(Status.CANCELLED, ReasonCode.CANCELLED_ON_REQUEST)],
            None,
        ),
        # What a person adopted has been told of by nobody yet.
        (selling(OPEN), [a_report()], [OPEN], [(Status.RAISING_CASH, None)], FIRST_LOOK),
        (selling(OPEN, **CANCEL), [a_report()], [OPEN], [], FIRST_LOOK),
    ],
)
def test_what_is_read_leads_on(
    before: Withdrawal,
    answers: list[OrderAnswer],
    sales: list[SaleStatus],
    events: list[tuple[Status, ReasonCode | None]],
    due: timedelta | None,
) -> None:
    """
    Only the provider's word about that very order moves it.
    """
    decision = seen(before, *answers)

    assert sales == statuses(decision.withdrawal)
    assert events == told(decision)
    assert due == due_in(decision)


def test_what_was_sold_too_late_is_not_withdrawn() -> None:
    """
    The cancellation came too late for the order, and the request's time is over: it expires.
    """
    late = selling(OPEN, **RAISING, order=an_order(not_after=NOW - SECOND))
    decision = seen(late, a_report(0, FILLED))

    assert ([FILLED], [], 0 * SECOND) == (
        statuses(decision.withdrawal),
        told(decision),
        due_in(decision),
    )


def test_an_order_is_adopted_as_a_person_says() -> None:
    """
    In the state that the provider tells.
    """
    adopted = adopted_order(
        selling(OPEN, UNKNOWN), 1, a_report(8, PARTIAL, filled_quantity="2"), now=NOW
    )

    assert [OPEN, PARTIAL] == statuses(adopted)
    assert ("ord_8", "2") == (adopted.sales[1].order_id, adopted.sales[1].filled_quantity)
