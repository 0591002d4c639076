"""What a seed decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.messages import NOBODYS, WITHOUT_ID, bad_bodies
from tests.faults.plan import (
    CALL_TIMEOUT,
    EXPIRIES,
    LONG_PAUSE,
    SCENARIOS,
    SETTLING,
    TEMPERS,
    WINDOW,
    Fault,
    Ledger,
    Link,
    draw,
)
from tests.faults.tongues import TONGUES
from worker.app.parts import SHAPES
from worker.core.cancellations import Cancel, read_cancel
from worker.core.messages import Envelope, Misread, Understood, read
from worker.ledger.store import REPLICA_LIFETIME

if TYPE_CHECKING:
    from tests.faults.plan import Plan
    from tests.faults.tongues import Tongue

#: So many runs are made before a release.
SEEDS = range(1, 201)
OF_TOKENS: Final = {Fault.TOKENS, Fault.KEYS}


@cache
def drawn(provider: str) -> tuple[Plan, ...]:
    """The plans of all these seeds."""
    return tuple(draw(seed, provider=provider) for seed in SEEDS)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("provider", TONGUES)
def test_a_seed_is_a_plan(scenario: str, provider: str) -> None:
    """
    The same seed draws the same plan, another one another.
    """
    first, again, other = (
        draw(seed, scenario=scenario, provider=provider) for seed in (17, 17, 18)
    )

    assert first == again
    assert replace(first, seed=other.seed) != other


def test_there_is_no_other_scenario_and_provider() -> None:
    """
    A name that nobody knows is refused, and the known ones are told.
    """
    with pytest.raises(ValueError, match="random, cluster"):
        draw(1, scenario="earthquake")
    with pytest.raises(ValueError, match="bluum, bluum_accounts, upvest"):
        draw(1, provider="acme")


@pytest.mark.parametrize("provider", TONGUES)
def test_every_fault_and_temper_is_drawn(provider: str) -> None:
    """
    Within 80 seeds each kind of fault occurs where it can, and each temper that a provider has.
    """
    links = {Fault.CUT, Fault.REFUSE, Fault.HOLE, Fault.DELAY}
    absent = {Fault.LEADER_KILL} | (set() if TONGUES[provider].has_tokens else OF_TOKENS)
    alone = set(Fault) - links - absent
    wanted = {*alone, *(f"{fault}: {link}" for fault in links for link in Link)}
    plans = drawn(provider)[:80]

    assert wanted == {kind for plan in plans for kind in plan.kinds}
    assert {temper.name for temper in TEMPERS if temper.provider in {None, provider}} == {
        plan.temper.name for plan in plans
    }


@pytest.mark.parametrize("tongue", TONGUES.values(), ids=lambda tongue: tongue.provider)
def test_every_bad_body_and_both_ledgers_are_drawn(tongue: Tongue) -> None:
    """
    Within 200 seeds each of the bad bodies is sent, and each database used about as often.
    """
    plans = drawn(tongue.provider)
    on_sqlite = sum(plan.ledger is Ledger.SQLITE for plan in plans)
    sent = {m.what for plan in plans for m in plan.messages}

    assert set() == (bad_bodies(tongue).keys() | tongue.special.keys()) - sent
    assert 80 < on_sqlite < 120


def test_keys_expire_only_after_the_window() -> None:
    """
    No worker may send an old key any more then, and no proxy holds a call back for long.
    """
    actions = [action for plan in drawn("bluum") for action in plan.actions]

    assert all(
        action.seconds > WINDOW.total_seconds() and action.messages
        for action in actions
        if action.fault in EXPIRIES
    )
    assert all(2 * action.by < SETTLING.total_seconds() for action in actions)
    assert WINDOW > 2 * CALL_TIMEOUT


def test_a_long_pause_outlasts_a_replica() -> None:
    """
    Who is stopped for so long is taken for dead, and wakes up when others have its work.
    """
    assert REPLICA_LIFETIME.total_seconds() + 2 < LONG_PAUSE


def test_a_sqlite_ledger_has_one_worker() -> None:
    """
    Nobody shares a file, and nothing is done to a database server that is not there.
    """
    plans = [plan for plan in drawn("bluum") if plan.ledger is Ledger.SQLITE]

    assert {1} == {plan.workers for plan in plans}
    assert not [
        action
        for plan in plans
        for action in plan.actions
        if action.fault is Fault.LEDGER_KILL or action.link is Link.LEDGER
    ]


def test_a_plan_can_be_read() -> None:
    """
    The printed plan has a line for each message and each deed.
    """
    plan = draw(17)

    lines = str(plan).splitlines()

    assert len(plan.messages) == sum(": " in line and " message " in line for line in lines)
    assert all(any(action.kind in line for line in lines) for action in plan.actions)


@pytest.mark.parametrize("tongue", TONGUES.values(), ids=lambda tongue: tongue.provider)
def test_a_bad_body_is_refused_as_foreseen(tongue: Tongue) -> None:
    """
    Each bad body is one that a worker cannot carry out, for the reason that is foreseen.
    """
    refused = {
        (what, name, message.reason)
        for what, (body, _) in bad_bodies(tongue).items()
        for name in ("req-1", None)
        if isinstance(message := _read(body, name, tongue), Misread)
    }

    assert {
        (what, name, reason if name else WITHOUT_ID.get(reason, reason))
        for what, (_, reason) in bad_bodies(tongue).items()
        for name in ("req-1", None)
    } == refused


@pytest.mark.parametrize("tongue", TONGUES.values(), ids=lambda tongue: tongue.provider)
def test_a_valid_request_is_understood(tongue: Tongue) -> None:
    """
    What is to be paid out can be read, with every time and every sale that is drawn.
    """
    began = datetime(2026, 6, 2, 9, tzinfo=UTC)
    messages = [
        m
        for plan in drawn(tongue.provider)[:20]
        for m in plan.all_messages
        if m.letter is None and m.cancels is None
    ]

    read_all = [_read(m.rendered(began), m.message_id, tongue) for m in messages]

    understood = [message for message in read_all if isinstance(message, Understood)]
    assert len(messages) == len(understood)
    assert [] != [m for m in messages if m.not_after is not None]
    assert [] != [m for m in messages if m.wait_until is not None]
    sells = any(message.request.sell for message in understood)
    assert (tongue.orders is not None) is sells


def test_only_what_nobody_can_tell_apart_may_stay_open() -> None:
    """
    Of two alike requests that is those of a provider that is told no reference, and both of them.
    """
    plans = [plan for provider in TONGUES for plan in drawn(provider)]
    left_open = {
        (plan.provider, plan.temper.references)
        for plan in plans
        for message in plan.all_messages
        if message.like and message.may_stay_open
    }
    unpaired = [
        message
        for plan in plans
        for message in plan.all_messages
        if message.like
        for other in plan.all_messages
        if other.message_id == message.like and other.may_stay_open is not message.may_stay_open
    ]

    assert {("upvest", False)} == left_open
    assert [] == unpaired


def test_a_cancellation_is_understood() -> None:
    """
    It names a request of its run or one that never comes, and some come more than once.
    """
    plan = draw(17)
    cancels = [m for m in plan.messages if m.cancels is not None]

    read_all = [
        read_cancel(
            Envelope(body=message.body, message_id=message.message_id),
            providers={"bluum"},
            default_provider="bluum",
        )
        for message in cancels
    ]

    named = [cancel.request_message_id for cancel in read_all if isinstance(cancel, Cancel)]
    assert [m.cancels for m in cancels] == named
    assert {NOBODYS} == {m.cancels for m in cancels} - {m.message_id for m in plan.messages}
    assert len(cancels) > len({m.cancels for m in cancels})


def _read(body: bytes, message_id: str | None, tongue: Tongue) -> Misread | Understood:
    return read(
        Envelope(body=body, message_id=message_id),
        shapes=SHAPES,
        default_provider=tongue.provider,
    )
