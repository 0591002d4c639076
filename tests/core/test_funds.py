"""Waiting for funds: told once, tried on a growing schedule, and never at the price of a doubt."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from tests.core.builders import (
    EVEN,
    INSUFFICIENT,
    NOW,
    PATIENCE,
    a_withdrawal,
    an_order,
    create,
    look_up,
    refused,
)
from tests.core.model import Call, Crash, Fate, Provider, Worker
from worker.core.answers import Throttled, Unclear
from worker.core.change import Cause, Decision
from worker.core.funds import PROCEEDS_WAITED_FOR, WALLET_BELIEVED, decide_wallet
from worker.core.permit import intend
from worker.core.sale import Sale, SaleStatus
from worker.core.steps import Step, expire, next_step, wait_until_forgotten
from worker.core.withdrawal import Reason, ReasonCode, Status, Withdrawal

_DAY: Final = timedelta(days=1)
#: From a key's first call until the last that may have left since is forgotten for certain.
CERTAIN: Final = PATIENCE.window + PATIENCE.forgotten
PATIENT: Final = a_withdrawal(an_order(wait_for_funds_until=NOW + _DAY), in_doubt=False)
FILLED: Final = Sale(key="sell-1", status=SaleStatus.FILLED)
SOLD: Final = a_withdrawal(in_doubt=False, sales=(FILLED,), status=Status.RAISING_CASH)
SHORT: Final = create(PATIENT, refused()).withdrawal


def test_that_funds_are_short_is_told_once() -> None:
    """
    The first refusal is an event with its reason; the next only puts the withdrawal off, longer.
    """
    first = create(PATIENT, refused())
    second = create(first.withdrawal, refused())

    assert [(Status.AWAITING_FUNDS, INSUFFICIENT, Cause.CREATE)] == [
        (change.status, change.reason, change.cause) for change in first.changes
    ]
    assert () == second.changes
    assert [timedelta(seconds=15), timedelta(seconds=30)] == [
        decision.withdrawal.due_at - NOW
        for decision in (first, second)
        if decision.withdrawal.due_at is not None
    ]


@pytest.mark.parametrize(
    ("withdrawal", "reason"),
    [
        (a_withdrawal(in_doubt=False), INSUFFICIENT),
        (PATIENT, Reason(ReasonCode.NOT_PERMITTED, "BLUM-403-002")),
    ],
    ids=["nobody asked to wait", "another refusal"],
)
def test_nothing_else_waits(withdrawal: Withdrawal, reason: Reason) -> None:
    """
    Without a time to wait until, and for other reasons, a refusal is final.
    """
    decision = create(withdrawal, refused(reason))

    assert (Status.REJECTED, reason) == (decision.withdrawal.status, decision.withdrawal.reason)


def test_the_wait_ends_with_its_time() -> None:
    """
    The last turn is due no later; then it is rejected for want of funds, not for being late.
    """
    late = replace(SHORT, looks=40)
    decision = create(late, refused(), now=NOW + _DAY - timedelta(minutes=1))
    ended = expire(decision.withdrawal, now=NOW + _DAY)

    assert NOW + _DAY == decision.withdrawal.due_at
    assert Step.EXPIRE is next_step(decision.withdrawal, now=NOW + _DAY, patience=PATIENCE)
    assert (Status.REJECTED, INSUFFICIENT) == (ended.withdrawal.status, ended.withdrawal.reason)


def test_a_refusal_after_the_end_of_the_wait_is_final() -> None:
    """
    A call that left in time may be answered too late to wait on.
    """
    decision = create(SHORT, refused(), now=NOW + _DAY)

    assert Status.REJECTED is decision.withdrawal.status


def test_proceeds_are_waited_for_by_themselves() -> None:
    """
    After a sale funds may be short for some days, although nobody asked to wait; then no more.
    """
    waiting = create(SOLD, refused()).withdrawal
    over_at = NOW + PROCEEDS_WAITED_FOR

    assert Status.AWAITING_FUNDS is waiting.status
    assert Step.CREATE is next_step(waiting, now=NOW + CERTAIN, patience=PATIENCE)
    assert Step.EXPIRE is next_step(waiting, now=over_at, patience=PATIENCE)


def test_a_shortage_after_doubt_waits_for_the_list() -> None:
    """
    Only once the list has spoken is it certain that nothing was paid; then it waits like any other.
    """
    doubted = replace(PATIENT, in_doubt=True, held_refusal=INSUFFICIENT, empty_lookups=2)
    decision = look_up(doubted)

    assert [Status.AWAITING_FUNDS] == [change.status for change in decision.changes]
    assert (False, None) == (decision.withdrawal.in_doubt, decision.withdrawal.held_refusal)


def test_a_look_up_before_its_time_does_not_count() -> None:
    """
    Whoever is woken between two look-ups finds nothing for a reason that says nothing.
    """
    doubted = a_withdrawal(empty_lookups=1, due_at=NOW + PATIENCE.settling)

    assert Decision(doubted) == look_up(doubted)
    assert 2 == look_up(doubted, now=NOW + PATIENCE.settling).withdrawal.empty_lookups


@pytest.mark.parametrize(
    ("available", "looks", "waits"),
    [
        (Decimal("499.99"), 1, True),
        (Decimal("499.99"), WALLET_BELIEVED, False),
        (Decimal("500.00"), 1, False),
        (None, 1, False),
    ],
    ids=["too little", "too little, but asked now and then", "enough", "unknown"],
)
def test_a_wallet_saves_a_call(available: Decimal | None, looks: int, *, waits: bool) -> None:
    """
    What is sure to fail is not sent; since a wallet is advisory, now and then it is.
    """
    decision = decide_wallet(
        replace(SHORT, looks=looks), available, now=NOW, patience=PATIENCE, chance=EVEN
    )

    assert waits is (decision is not None)
    if decision is not None:
        assert (Status.AWAITING_FUNDS, looks + 1, ()) == (
            decision.withdrawal.status,
            decision.withdrawal.looks,
            decision.changes,
        )


def test_the_age_of_a_refused_key_counts_from_its_first_call() -> None:
    """
    Whether the provider's memory begins anew with each call is not documented: it is not relied on.
    """
    early = intend(SHORT, now=NOW + timedelta(hours=22), patience=PATIENCE).withdrawal
    late = intend(SHORT, now=NOW + CERTAIN, patience=PATIENCE).withdrawal

    assert (NOW, True) == (early.first_attempt_at, early.in_doubt)
    assert NOW + CERTAIN == late.first_attempt_at


def test_a_call_that_was_turned_away_makes_no_key_young() -> None:
    """
    It was refused before: what is remembered since then ends when it would have ended anyhow.
    """
    begun = intend(SHORT, now=NOW + timedelta(hours=22), patience=PATIENCE).withdrawal
    away = create(replace(begun, in_doubt=False), Throttled(), now=NOW + timedelta(hours=22))
    later = NOW + timedelta(hours=23, minutes=30)

    assert NOW == away.withdrawal.first_attempt_at
    assert Step.WAIT is next_step(away.withdrawal, now=later, patience=PATIENCE)


def test_silence_after_a_call_that_was_turned_away_is_asked_about_with_the_same_key() -> None:
    """
    Both left under one intent, whose time is that of the key.
    """
    begun = a_withdrawal(in_doubt=False)
    doubted = create(create(begun, Throttled()).withdrawal, Unclear("timeout")).withdrawal

    assert (True, begun.first_attempt_at) == (doubted.in_doubt, doubted.first_attempt_at)
    assert Step.CREATE is next_step(doubted, now=NOW, patience=PATIENCE)


def test_a_key_that_may_just_be_forgotten_is_not_used() -> None:
    """
    Between window and certainty it waits; a memory that counts from the first call pays but once.
    """
    provider = Provider(counts_from_first=True)
    worker = Worker(provider)
    row = worker.take(marked=True, left=None, patient=3 * _DAY)
    worker.submit_first(row, (Call(refuses=True),), Crash.NOWHERE)
    provider.pass_time(timedelta(hours=23, minutes=30))

    assert Step.WAIT is worker.step(row, (Call(Fate.ANSWER_LOST),), Crash.NOWHERE)
    assert NOW + CERTAIN == worker.due_at(row)
    provider.pass_time(NOW + CERTAIN - provider.now)
    assert Step.CREATE is worker.step(row, (Call(Fate.ANSWER_LOST),), Crash.NOWHERE)
    provider.pass_time(timedelta(minutes=1))
    worker.step(row, (Call(),), Crash.NOWHERE)
    assert 1 == len(provider.paid(worker.rows[row]))


def test_a_key_that_was_never_used_is_as_good_as_forgotten() -> None:
    """
    There is nothing to wait for.
    """
    fresh = a_withdrawal(in_doubt=False, first_attempt_at=None)

    assert NOW == wait_until_forgotten(fresh, now=NOW, patience=PATIENCE).withdrawal.due_at


def test_the_key_alone_is_waited_for_where_funds_are_not() -> None:
    """
    The end of a wait that never began is in the past by then: nobody may take it up over and over.
    """
    never_short = replace(PATIENT, order=an_order(wait_for_funds_until=NOW + timedelta(hours=1)))
    now = NOW + PATIENCE.window

    assert Step.WAIT is next_step(never_short, now=now, patience=PATIENCE)
    put_off = wait_until_forgotten(never_short, now=now, patience=PATIENCE).withdrawal
    assert NOW + CERTAIN == put_off.due_at


@pytest.mark.parametrize("limit", ["wait_for_funds_until", "not_after"])
def test_the_end_of_a_request_does_not_wait_for_the_key(limit: str) -> None:
    """
    Whose time is over while the key rests is told then, not once the key is forgotten.
    """
    ends_at = NOW + PATIENCE.window + timedelta(minutes=30)
    order = replace(SHORT.order, wait_for_funds_until=NOW + 3 * _DAY)
    limits: dict[str, Any] = {limit: ends_at}
    short = replace(SHORT, order=replace(order, **limits))
    resting = wait_until_forgotten(short, now=NOW + PATIENCE.window, patience=PATIENCE).withdrawal

    # A limit is the last moment at which it may be sent, the wait for funds is over at its end.
    over_at = ends_at + timedelta.resolution * (limit == "not_after")
    assert over_at == resting.due_at
    assert Step.EXPIRE is next_step(resting, now=over_at, patience=PATIENCE)
