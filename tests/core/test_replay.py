"""What a replay of a dead letter leads to, and which letters a selection means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.builders import NOW, a_pending, a_withdrawal, an_order
from tests.core.wire import a_body, a_message, misread, understood
from worker.core.cancellations import read_cancel
from worker.core.messages import DeadReason
from worker.core.replay import (
    REASONS,
    Asks,
    Forecast,
    Forecaster,
    Known,
    Letter,
    Plan,
    Planned,
    Prospect,
    Selection,
)
from worker.core.withdrawal import Reason, ReasonCode, Status

if TYPE_CHECKING:
    from worker.core.messages import Envelope, Misread, Understood
    from worker.core.replay import Reading
    from worker.core.withdrawal import Withdrawal

GOOD = understood(a_message())
BAD = misread(a_message(a_body(amount=5)))


def a_letter(**changes: Any) -> Letter:  # noqa: ANN401 - any field
    """A request that killed the worker an hour ago."""
    plain = Letter(
        id="0123456789ab",
        message_id="req-1",
        reason="poison",
        detail="",
        buried_at=NOW - timedelta(hours=1),
        origin="withdrawals.requests",
        size=100,
        asks=Asks.REQUEST,
    )
    return replace(plain, **changes)


def forecast(
    letter: Letter,
    message: Reading | None = GOOD,
    withdrawal: Withdrawal | None = None,
    *,
    of: Understood | Misread = GOOD,
) -> Forecast:
    """Forecast one letter, with what the ledger made of `of`."""
    known = None if withdrawal is None else Known(withdrawal, of.fingerprint)
    return Forecaster()(letter, message, known, now=NOW)


def test_a_request_that_the_ledger_does_not_know_is_sent() -> None:
    """
    It is taken in as new, for one create call at its provider.
    """
    expected = Forecast(
        Prospect.SEND, "unknown to the ledger: it is taken in as new", "bluum", calls=1
    )

    assert expected == forecast(a_letter())


def test_a_request_that_comes_too_late_costs_no_call() -> None:
    """
    After its not_after the worker records it as rejected and sends nothing.
    """
    late = understood(a_message(a_body(not_after="2026-06-01T09:59:59Z")))
    found = forecast(a_letter(), late)

    assert (Prospect.SEND, 0) == (found.prospect, found.calls)
    assert "too late" in found.why


def test_a_request_that_is_still_in_time_costs_its_call() -> None:
    """
    A not_after that lies ahead changes nothing.
    """
    timely = understood(a_message(a_body(not_after="2026-06-01T10:00:01Z")))

    assert 1 == forecast(a_letter(), timely).calls


@pytest.mark.parametrize(
    ("withdrawal", "why"),
    [
        (a_withdrawal(in_doubt=True), "in doubt"),
        (a_pending(), "in flight"),
        (a_pending(status=Status.COMPLETED), "finished"),
        (
            a_withdrawal(status=Status.REJECTED, in_doubt=False, reason=Reason(ReasonCode.EXPIRED)),
            "finished",
        ),
    ],
)
def test_a_request_that_the_ledger_knows_costs_nothing(withdrawal: Withdrawal, why: str) -> None:
    """
    Whatever became of it, a replay sends no create call for it.
    """
    found = forecast(a_letter(), GOOD, withdrawal)

    assert (Prospect.LOOK_UP, 0) == (found.prospect, found.calls)
    assert found.why.startswith(why)


@pytest.mark.parametrize("message", [GOOD, BAD])
def test_an_invalid_request_has_spent_its_id(message: Understood | Misread) -> None:
    """
    Even where a worker would read it today: consumers were told that it is rejected.
    """
    rejected = a_withdrawal(
        status=Status.REJECTED, in_doubt=False, reason=Reason(ReasonCode.INVALID_REQUEST)
    )
    found = forecast(a_letter(reason="invalid"), message, rejected, of=BAD)

    assert Prospect.PERSON is found.prospect
    assert "its id is spent" in found.why


def test_an_unresolved_request_is_a_persons() -> None:
    """
    A replay cannot settle what look-ups could not.
    """
    found = forecast(a_letter(), GOOD, a_withdrawal(status=Status.UNRESOLVED))

    assert Prospect.PERSON is found.prospect
    assert found.why.startswith("unresolved")


@pytest.mark.parametrize("withdrawal", [None, a_pending()])
def test_a_reused_id_is_a_persons(withdrawal: Withdrawal | None) -> None:
    """
    By its reason, or because the ledger knows the id with other content.
    """
    other = understood(a_message(a_body(amount="7.00")))
    found = forecast(a_letter(reason="message_id_reused"), other, withdrawal)

    assert Prospect.PERSON is found.prospect
    assert "other content" in found.why


@pytest.mark.parametrize(
    "envelope",
    [
        a_message(b"{"),
        a_message(message_id=None),
        a_message(a_body(provider="nobody")),
        a_message(content_type="text/plain"),
        a_message(b" " * 70_000),
    ],
)
def test_what_would_be_buried_again_is_a_persons(envelope: Envelope) -> None:
    """
    The forecast names the reason that the worker would give.
    """
    message = misread(envelope)
    found = forecast(a_letter(), message)

    assert Prospect.PERSON is found.prospect
    assert found.why == f"{message.reason}, a worker would bury it again"


def test_unreadable_properties_are_a_persons() -> None:
    """
    Nobody can carry out what nobody can read.
    """
    assert Prospect.PERSON is forecast(a_letter(), None).prospect


def test_a_letter_of_unknown_origin_is_a_persons() -> None:
    """
    There is no queue to send it to.
    """
    assert Prospect.PERSON is forecast(a_letter(asks=None)).prospect


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize(
    ("body", "can_be_read"), [(b'{"withdrawal_id":"wd_1"}', True), (b"{}", False), (None, False)]
)
def test_a_cancellation_is_tried_again_if_it_can_be_read(
    reason: str, body: bytes | None, can_be_read: bool
) -> None:
    """
    Whatever it was buried for, unless its id was used for another; it costs no create call.
    """
    message = None
    if body is not None:
        envelope = a_message(body, message_id="cancel-1")
        message = read_cancel(envelope, providers={"bluum"}, default_provider="bluum")
    found = forecast(a_letter(reason=reason, asks=Asks.CANCELLATION), message)
    goes = can_be_read and reason != "message_id_reused"

    assert (Prospect.SEND if goes else Prospect.PERSON, 0) == (found.prospect, found.calls)


def test_the_same_message_twice_is_paid_once() -> None:
    """
    Of two letters that are alike only the first costs a call.
    """
    forecaster = Forecaster()
    found = [forecaster(a_letter(), GOOD, None, now=NOW) for _ in range(2)]

    assert [1, 0] == [one.calls for one in found]
    assert [Prospect.SEND, Prospect.LOOK_UP] == [one.prospect for one in found]


def test_two_letters_with_one_id_and_different_content_are_a_persons_choice() -> None:
    """
    Whichever went first would take the id from the other.
    """
    forecaster = Forecaster()
    forecaster(a_letter(), GOOD, None, now=NOW)
    other = understood(a_message(a_body(amount="7.00")))
    found = forecaster(a_letter(id="other"), other, None, now=NOW)

    assert Prospect.PERSON is found.prospect


def test_every_reason_can_be_selected() -> None:
    """
    Those of the contract, and the broker's own.
    """
    assert {*(reason.value for reason in DeadReason), "broker"} == set(REASONS)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("selection", "letter", "is_meant"),
    [
        (Selection(), a_letter(), True),
        (Selection(ids=frozenset({"0123456789ab"})), a_letter(), True),
        (Selection(ids=frozenset({"req-1"})), a_letter(), True),
        (Selection(ids=frozenset({"req-2"})), a_letter(), False),
        (Selection(ids=frozenset({"req-2"})), a_letter(message_id=None), False),
        (Selection(reasons=frozenset({"poison", "invalid"})), a_letter(), True),
        (Selection(reasons=frozenset({"invalid"})), a_letter(), False),
        (Selection(ids=frozenset({"req-1"}), reasons=frozenset({"invalid"})), a_letter(), False),
        (Selection(older_than=HOUR), a_letter(), True),
        (Selection(older_than=2 * HOUR), a_letter(), False),
        (Selection(newer_than=HOUR), a_letter(), True),
        (Selection(newer_than=HOUR / 2), a_letter(), False),
        (Selection(older_than=HOUR / 2, newer_than=2 * HOUR), a_letter(), True),
        (Selection(older_than=HOUR), a_letter(buried_at=None), False),
        (Selection(newer_than=HOUR), a_letter(buried_at=None), False),
    ],
)
def test_a_selection_means_what_fits_all_of_it(
    selection: Selection, letter: Letter, is_meant: bool
) -> None:
    """
    Every given condition has to hold; an unknown age fits none.
    """
    assert is_meant is selection.takes(letter, now=NOW)


def planned(prospect: Prospect, why: str, *, calls: int = 0, goes: bool = True) -> Planned:
    """One letter of a plan."""
    provider = "bluum" if calls else None
    return Planned(a_letter(id=why), Forecast(prospect, why, provider, calls), goes)


PLAN = Plan(
    (
        planned(Prospect.PERSON, "spent", goes=False),
        planned(Prospect.SEND, "new", calls=1),
        planned(Prospect.SEND, "new", calls=1),
        planned(Prospect.LOOK_UP, "finished"),
        planned(Prospect.SEND, "held", calls=1, goes=False),
    )
)


def test_a_plan_counts_what_goes_and_what_it_costs() -> None:
    """
    A letter that does not go costs nothing; calls become seconds by the provider's limit.
    """
    assert ("new", "new", "finished") == PLAN.going
    assert {"bluum": 2} == PLAN.calls()
    assert 0.5 == PLAN.seconds({"bluum": 4.0})
    assert 0.0 == Plan(()).seconds({"bluum": 4.0})


def test_a_plan_is_told_by_what_happens_and_why() -> None:
    """
    Each prospect is counted, also the one that no letter has; the same why is told once.
    """
    assert {Prospect.SEND: 3, Prospect.LOOK_UP: 1, Prospect.PERSON: 1} == PLAN.by_prospect()
    assert {Prospect.SEND: 0, Prospect.LOOK_UP: 0, Prospect.PERSON: 0} == Plan(()).by_prospect()
    assert [
        ((Prospect.SEND, "held", False), 1),
        ((Prospect.SEND, "new", True), 2),
        ((Prospect.LOOK_UP, "finished", True), 1),
        ((Prospect.PERSON, "spent", False), 1),
    ] == list(PLAN.by_why().items())


def test_a_letter_and_what_is_known_show_no_content() -> None:
    """
    The fingerprint of a request, which could be guessed from, is in no text.
    """
    assert "fingerprint" not in repr(Known(a_withdrawal(an_order()), b"secret"))
