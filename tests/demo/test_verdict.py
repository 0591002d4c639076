"""From evidence to numbers, rows and a verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

import pytest

from tests.demo.evidence import event, events, invalid, nameless, paid, refused, reused, together
from worker.core.withdrawal import idempotency_key
from worker.demo.audit import Buried, Executed, Heard, Seen, Sent
from worker.demo.evidence import content_of, read_dead_letter, read_event, read_record
from worker.demo.outcome import outcome
from worker.demo.scenarios import Again, Message, Scenario
from worker.demo.tally import tally
from worker.demo.verdict import judge

BODY: Final = b"body"
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
    twice = replace(ONE, again=Again.AFTER_THE_END)
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
