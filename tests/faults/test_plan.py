"""What a seed decides."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.faults.messages import BAD_BODIES
from tests.faults.plan import (
    CALL_TIMEOUT,
    EXPIRIES,
    LONG_PAUSE,
    SCENARIOS,
    SETTLING,
    WINDOW,
    Fault,
    Ledger,
    Link,
    draw,
)
from worker.core.messages import Envelope, Misread, Understood, read
from worker.ledger.store import REPLICA_LIFETIME
from worker.providers.bluum import BluumRequest

#: So many runs are made before a release.
SEEDS = range(1, 201)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_seed_is_a_plan(scenario: str) -> None:
    """
    The same seed draws the same plan, another one another.
    """
    assert draw(17, scenario=scenario) == draw(17, scenario=scenario)
    assert draw(17, scenario=scenario) != draw(18, scenario=scenario)


def test_there_is_no_other_scenario() -> None:
    """
    A name that nobody knows is refused, and the known ones are told.
    """
    with pytest.raises(ValueError, match="random, cluster"):
        draw(1, scenario="earthquake")


def test_every_fault_is_drawn() -> None:
    """
    Within 60 seeds each kind of fault occurs, on each kind of connection where it can.
    """
    links = {Fault.CUT, Fault.REFUSE, Fault.HOLE, Fault.DELAY}
    alone = set(Fault) - links - {Fault.LEADER_KILL}
    wanted = {*alone, *(f"{fault}: {link}" for fault in links for link in Link)}

    assert wanted == {kind for seed in range(1, 61) for kind in draw(seed).kinds}


def test_every_bad_body_and_both_ledgers_are_drawn() -> None:
    """
    Within 200 seeds each of the bad bodies is sent, and each database used about as often.
    """
    plans = [draw(seed) for seed in SEEDS]
    on_sqlite = sum(plan.ledger is Ledger.SQLITE for plan in plans)

    assert set() == BAD_BODIES.keys() - {m.what for plan in plans for m in plan.messages}
    assert 80 < on_sqlite < 120


def test_keys_expire_only_after_the_window() -> None:
    """
    No worker may send an old key any more then, and no proxy holds a call back for long.
    """
    actions = [action for seed in SEEDS for action in draw(seed).actions]

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
    plans = [plan for seed in SEEDS if (plan := draw(seed)).ledger is Ledger.SQLITE]

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


@pytest.mark.parametrize("what", BAD_BODIES)
@pytest.mark.parametrize("message_id", ["req-1", None])
def test_a_bad_body_is_refused_as_foreseen(what: str, message_id: str | None) -> None:
    """
    Each bad body is one that a worker cannot carry out, for the reason that is foreseen.
    """
    body, reason = BAD_BODIES[what]

    message = read(
        Envelope(body=body, message_id=message_id),
        shapes={"bluum": BluumRequest},
        default_provider="bluum",
    )

    foreseen = {reason} if message_id else {reason, "missing_message_id"}
    assert isinstance(message, Misread)
    assert message.reason in foreseen


def test_a_valid_request_is_understood() -> None:
    """
    What is to be paid out can be read, with every `not_after` that is drawn.
    """
    began = datetime(2026, 6, 2, 9, tzinfo=UTC)
    messages = [m for seed in range(1, 21) for m in draw(seed).all_messages if m.letter is None]

    read_all = [
        read(
            Envelope(body=message.rendered(began), message_id=message.message_id),
            shapes={"bluum": BluumRequest},
            default_provider="bluum",
        )
        for message in messages
    ]

    assert all(isinstance(message, Understood) for message in read_all)
    assert [] != [m for m in messages if m.not_after is not None]
