"""From evidence to numbers, rows and a verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.demo.evidence import event, events, invalid, nameless, paid, refused, reused, together
from worker.core.sale import sale_key
from worker.core.withdrawal import idempotency_key
from worker.demo.audit import (
    Buried,
    Delivery,
    Effect,
    Executed,
    Forged,
    Heard,
    Ordered,
    Seen,
    Sent,
)
from worker.demo.evidence import (
    content_of,
    read_dead_letter,
    read_deliveries,
    read_effects,
    read_event,
    read_record,
    with_our_keys,
)
from worker.demo.outcome import outcome
from worker.demo.scenario import REVERSAL, Message, Scenario, Turn
from worker.demo.tally import tally
from worker.demo.verdict import judge

BODY: Final = b"body"
NOW: Final = datetime(2026, 6, 2, 9, tzinfo=UTC)
CANCEL: Final = Message(name="cancel-a", body=b"cancel", cancels="a")
ONE: Final = Scenario(
    title="One",
    messages=(Message(name="a", body=BODY),),
    ends=frozenset({"completed"}),
    withdrawals=1,
)


def one(*statuses: str, withdrawals: int = 1) -> Seen:
    """What is seen of `ONE` when its request went through these statuses."""
    return Seen(
        sent=(Sent("a", content_of(BODY)),),
        executed=tuple(Executed(idempotency_key("a"), f"wd-{n}") for n in range(withdrawals)),
        heard=events("a", *statuses),
    )


def test_everything_is_counted_once() -> None:
    """
    Copies, repeated events and second dead letters do not count as something new.
    """
    run = together(paid(), refused(), invalid(), nameless(), reused(), Seen(sent=paid().sent))
    counted = tally(together(run, Seen(heard=paid().heard)))

    assert (7, 6) == (counted.messages, counted.requests)
    assert (4, 2, 0) == (counted.ended, counted.buried, counted.lost)
    assert 2 == counted.withdrawals
    assert {"received": 3, "pending": 2, "processing": 2, "completed": 2, "rejected": 2} == dict(
        counted.events
    )
    assert 4 == counted.repeats
    assert {"invalid": 1, "missing_message_id": 1, "message_id_reused": 1} == dict(
        counted.dead_letters
    )


def test_what_is_no_request_is_counted_apart() -> None:
    """
    Cancellations, what else happened at the provider, and its attempts to tell of it.
    """
    seen = Seen(
        cancels=(Sent("cancel-a", "body"),) * 2,
        effects=(Effect("withdrawal", "wd-a", "wd-0"), Effect("cancel", "wd-a", "wd-0")),
        deliveries=(Delivery("order.filled", "ord-1", "delivered"),),
    )
    counted = tally(seen)

    assert (0, 2) == (counted.messages, counted.cancels)
    assert {"cancel": 1} == dict(counted.effects)
    assert {"delivered": 1} == dict(counted.webhooks)


def test_what_is_lost_is_counted() -> None:
    """
    A request without an end and a message without id that vanished are both lost.
    """
    seen = Seen(sent=(Sent("a", "body"), Sent(None, "body")), heard=events("a", "received"))

    assert (0, 0, 2) == (tally(seen).ended, tally(seen).buried, tally(seen).lost)


def test_an_event_is_read() -> None:
    """
    The id an event came under is the one that counts, as it does for consumers.
    """
    body = json.dumps(
        {
            "event_id": "e-1",
            "type": "withdrawal.rejected",
            "sequence": 2,
            "message_id": "a",
            "withdrawal_id": None,
            "reversal": False,
            "reason": {"code": "not_found", "provider_code": None, "message": "…"},
            "orders": [{"client_order_id": "sell-a", "filled_quantity": "2.5"}],
            "occurred_at": "2026-06-02T09:00:00.000Z",
        }
    ).encode()

    assert Heard(
        event_id="e-2",
        message_id="a",
        sequence=2,
        status="rejected",
        withdrawal_id=None,
        reversal=False,
        content=content_of(body),
        reason="not_found",
        orders=(Ordered("sell-a", "2.5"),),
        at=NOW,
    ) == read_event(body, event_id="e-2")


def test_only_withdrawals_of_the_record_are_executions() -> None:
    """
    A cancellation is an effect on money, and no second withdrawal.
    """
    record = {
        "effects": [
            {"effect": "withdrawal", "id": "wd_1", "idempotency_key": "wd-a"},
            {"effect": "cancel", "id": "wd_1"},
        ]
    }

    assert (Executed("wd-a", "wd_1"),) == read_record(record)


def test_what_happens_later_is_read_under_the_key_of_what_it_happens_to() -> None:
    """
    A cancellation and a fill carry no key of their own; a deposit belongs to nobody's request.
    """
    record = {
        "effects": [
            {"effect": "deposit", "id": "wlt_1"},
            {"effect": "order", "id": "ord_1", "idempotency_key": "sell-a"},
            {"effect": "fill", "id": "ord_1"},
            {"effect": "withdrawal", "id": "wd_1", "idempotency_key": "wd-a"},
            {"effect": "cancel", "id": "wd_1"},
        ]
    }

    assert (
        Effect("deposit", None, "wlt_1"),
        Effect("order", "sell-a", "ord_1"),
        Effect("fill", "sell-a", "ord_1"),
        Effect("withdrawal", "wd-a", "wd_1"),
        Effect("cancel", "wd-a", "wd_1"),
    ) == read_effects(record)


def test_a_bare_key_is_read_as_the_one_that_it_was_made_of() -> None:
    """
    Upvest takes UUIDs without a word before them; the events and the audit have the whole key.
    """
    order, payout = sale_key("a", 0), idempotency_key("a")
    record = {
        "effects": [
            {"effect": "order", "id": "o", "idempotency_key": order.removeprefix("sell-")},
            {"effect": "withdrawal", "id": "w", "idempotency_key": payout.removeprefix("wd-")},
            {"effect": "reversal", "id": "w"},
        ]
    }

    assert (Executed(payout, "w"),) == read_record(record)
    assert [order, payout, payout] == [effect.key for effect in read_effects(record)]
    assert [order, payout, None] == [
        effect.get("idempotency_key") for effect in with_our_keys(record)["effects"]
    ]
    # What has been read so is read so again.
    assert (Executed(payout, "w"),) == read_record(with_our_keys(record))


def test_attempts_at_webhooks_are_read() -> None:
    """
    Each with the event, whom it is about, and what became of it.
    """
    attempt = {"event": "order.filled", "id": "ord_1", "outcome": "unanswered", "attempt": 1}

    assert (Delivery("order.filled", "ord_1", "unanswered"),) == read_deliveries(
        {"webhooks": [attempt]}
    )


def test_a_dead_letter_is_read() -> None:
    """
    Its reason stands in a header.
    """
    assert Buried("a", content_of(BODY), "invalid") == read_dead_letter(
        BODY, message_id="a", headers={"x-reason": "invalid"}
    )


def test_a_scenario_that_ended_well_is_right() -> None:
    """
    All requests ended as they may, and the provider holds as many withdrawals as it should.
    """
    row = outcome(ONE, one("received", "pending", "completed"))

    assert (True, True) == (row.is_settled, row.is_right)
    assert (1, 1, 3) == (row.sent, row.withdrawals, row.events)
    assert {"completed": 1} == row.standing


@pytest.mark.parametrize(
    ("statuses", "standing"),
    [([], "sent"), (["received"], "received"), (["received", "unresolved"], "unresolved")],
)
def test_a_scenario_is_open_until_its_end(statuses: list[str], standing: str) -> None:
    """
    Without an end it is not settled, and the row says where it stands.
    """
    row = outcome(ONE, one(*statuses))

    assert (False, False) == (row.is_settled, row.is_right)
    assert {standing: 1} == row.standing


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(one("received", "rejected"), id="ended otherwise"),
        pytest.param(one("received", "completed", withdrawals=0), id="not paid"),
        pytest.param(one("received", "completed", withdrawals=2), id="paid twice"),
        pytest.param(
            together(
                one("received", "completed"),
                Seen(buried=(Buried("a", content_of(BODY), "invalid"),)),
            ),
            id="a dead letter too many",
        ),
    ],
)
def test_a_scenario_may_settle_and_be_wrong(seen: Seen) -> None:
    """
    That everything came does not mean that it is what had to come.
    """
    assert (True, False) == (outcome(ONE, seen).is_settled, outcome(ONE, seen).is_right)


def test_what_is_sent_again_is_waited_for() -> None:
    """
    A scenario with a repetition is open until the repetition was sent.
    """
    twice = replace(ONE, turns=(Turn(frozenset({"completed"}), ONE.messages[0]),))
    seen = one("received", "completed")

    assert not outcome(twice, seen).is_settled
    assert outcome(twice, together(seen, Seen(sent=seen.sent))).is_right


def test_dead_letters_are_waited_for() -> None:
    """
    A scenario is open until its dead letter came; that it came twice, after a crash, is no matter.
    """
    scenario = replace(
        ONE, ends=frozenset({"rejected"}), withdrawals=0, dead_letters=("malformed",)
    )
    rejected = one("rejected", withdrawals=0)
    letter = Seen(buried=(Buried("a", content_of(BODY), "malformed"),))

    assert not outcome(scenario, rejected).is_settled
    assert outcome(scenario, together(rejected, letter)).is_right
    assert outcome(scenario, together(rejected, letter, letter)).is_right


def test_answers_are_waited_for() -> None:
    """
    Who asked for answers gets every event in the own queue.
    """
    scenario = replace(ONE, messages=(Message(name="a", body=BODY, wants_answer=True),))
    seen = one("received", "completed")

    assert not outcome(scenario, seen, seen.heard[:1]).is_settled
    assert outcome(scenario, seen, seen.heard).is_right


CANCELLED: Final = replace(
    ONE,
    turns=(Turn(frozenset({"pending"}), CANCEL),),
    ends=frozenset({"cancelled"}),
    effects={"cancel": 1},
)
SOLD: Final = replace(ONE, told={"raising_cash": 1}, effects={"order": 1, "fill": 1}, filled=("3",))
LATE: Final = replace(ONE, told={"cancel_refused": 1})
BACK: Final = replace(
    ONE, ends=frozenset({"failed"}), told={REVERSAL: 1}, unlooked_for=timedelta(hours=20)
)
SOON: Final = replace(ONE, unlooked_for=timedelta(seconds=6))
FORGED: Final = replace(ONE, refusals=(401,))


def cancelled(effects: int = 1) -> Seen:
    """What is seen of `CANCELLED` when the provider cancelled so often."""
    cancels = Seen(
        cancels=(Sent("cancel-a", content_of(b"cancel")),),
        effects=(Effect("cancel", idempotency_key("a"), "wd-0"),) * effects,
    )
    return together(one("received", "pending", "cancelled"), cancels)


def sold(*course: str, filled: str = "3") -> Seen:
    """What is seen of `SOLD` when this happened at the provider, in this order."""
    keys = {"withdrawal": idempotency_key("a")}
    told = replace(event("a", 3, "completed"), orders=(Ordered(sale_key("a", 0), filled),))
    return together(
        one("received", "raising_cash"),
        Seen(
            heard=(told,),
            effects=tuple(Effect(kind, keys.get(kind, sale_key("a", 0)), "x") for kind in course),
        ),
    )


def ended(*statuses: str, after: float = 0.0, **changes: Any) -> Seen:  # noqa: ANN401 - any field
    """What is seen of `ONE` when the last status came so many seconds after the one before it."""
    *before, last = one(*statuses).heard
    heard = (
        *(replace(each, at=NOW) for each in before),
        replace(last, at=NOW + timedelta(seconds=after), **changes),
    )
    return replace(one(*statuses), heard=heard)


@pytest.mark.parametrize(
    ("scenario", "seen"),
    [
        pytest.param(CANCELLED, cancelled(), id="cancelled"),
        pytest.param(SOLD, sold("order", "fill", "withdrawal"), id="sold first"),
        pytest.param(LATE, one("received", "completed", "cancel_refused"), id="refused after all"),
        pytest.param(LATE, one("received", "cancel_refused", "completed"), id="refused before"),
        pytest.param(BACK, ended("completed", "failed", after=60, reversal=True), id="taken back"),
        pytest.param(SOON, ended("pending", "completed", after=3), id="before any look"),
        pytest.param(
            FORGED,
            together(one("received", "completed"), Seen(forged=(Forged("a", 401),))),
            id="a forgery refused",
        ),
    ],
)
def test_what_is_out_of_the_ordinary_is_right_as_expected(scenario: Scenario, seen: Seen) -> None:
    """
    Cancelled, sold, answered, taken back, hastened, refused: exactly as the scenario says.
    """
    assert outcome(scenario, seen).is_right


@pytest.mark.parametrize(
    ("scenario", "seen"),
    [
        pytest.param(CANCELLED, cancelled(effects=2), id="cancelled twice"),
        pytest.param(SOLD, sold("order", "order", "fill", "withdrawal"), id="sold twice"),
        pytest.param(SOLD, sold("order", "withdrawal", "fill"), id="withdrawn before the fill"),
        pytest.param(SOLD, sold("order", "fill", "withdrawal", filled="2"), id="told otherwise"),
        pytest.param(
            LATE,
            one("received", "cancel_refused", "cancel_refused", "completed"),
            id="one cancellation answered twice",
        ),
        pytest.param(ONE, one("received", "cancel_refused", "completed"), id="nobody cancelled"),
        pytest.param(ONE, one("received", "awaiting_funds", "completed"), id="needlessly awaited"),
        pytest.param(SOON, ended("pending", "completed", after=6), id="a look may have told"),
        pytest.param(SOON, ended("received", "completed", after=3), id="found in doubt"),
        pytest.param(
            FORGED,
            together(one("received", "completed"), Seen(forged=(Forged("a", 200),))),
            id="a forgery believed",
        ),
    ],
)
def test_what_is_out_of_the_ordinary_may_be_wrong(scenario: Scenario, seen: Seen) -> None:
    """
    Everything has come, and it is not what the scenario says.
    """
    assert (True, False) == (outcome(scenario, seen).is_settled, outcome(scenario, seen).is_right)


@pytest.mark.parametrize(
    ("scenario", "seen"),
    [
        pytest.param(CANCELLED, one("received", "pending", "cancelled"), id="the cancellation"),
        pytest.param(CANCELLED, cancelled(effects=0), id="the provider's effect"),
        pytest.param(LATE, one("received", "completed"), id="the answer"),
        pytest.param(BACK, one("received", "failed"), id="the reversal"),
        pytest.param(FORGED, one("received", "completed"), id="the refusal"),
    ],
)
def test_what_is_out_of_the_ordinary_is_waited_for(scenario: Scenario, seen: Seen) -> None:
    """
    A scenario is open until all that it expects was seen.
    """
    assert not outcome(scenario, seen).is_settled


def test_a_cancellation_of_nothing_is_a_scenario_too() -> None:
    """
    No request has to end; the answer belongs to the request that was named.
    """
    scenario = Scenario(title="None", messages=(CANCEL,), told={"cancel_refused": 1})
    seen = Seen(
        cancels=(Sent("cancel-a", content_of(b"cancel")),), heard=(event("a", 0, "cancel_refused"),)
    )

    assert outcome(scenario, seen).is_right
    assert not outcome(scenario, replace(seen, heard=())).is_settled


def test_a_verdict_holds_when_nothing_speaks_against_it() -> None:
    """
    No finding, nothing missing, nothing wrong, nothing left in the queue.
    """
    seen = one("received", "completed")
    seen = replace(seen, heard=(seen.heard[0], event("a", 2, "completed", withdrawal_id="wd-0")))
    right, never_came = outcome(ONE, seen), outcome(ONE, Seen())
    wrong = outcome(replace(ONE, withdrawals=5), seen)

    assert judge(seen, [right], waiting=0, replays=0).holds
    assert not judge(seen, [right, never_came], waiting=0, replays=0).holds
    assert not judge(seen, [right, wrong], waiting=0, replays=0).holds
    assert not judge(seen, [right], waiting=1, replays=0).holds
    assert not judge(Seen(sent=seen.sent), [right], waiting=0, replays=0).holds
