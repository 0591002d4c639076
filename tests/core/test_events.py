"""What an event looks like, byte for byte: consumers have built against it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.core.builders import (
    EVEN,
    INSUFFICIENT,
    NOW,
    PATIENCE,
    a_pending,
    a_withdrawal,
    an_order,
    refused,
    reported,
)
from tests.core.sale_builders import FILLED, PARTIAL, PLANNED, a_report, placed, selling
from worker.core.change import Cause, Decision, park
from worker.core.decide import decide_create, decide_look
from worker.core.events import event, moment
from worker.core.permit import take_in
from worker.core.steps import refuse_at_the_door
from worker.core.withdrawal import (
    Reason,
    ReasonCode,
    Status,
    Withdrawal,
    event_id,
    idempotency_key,
)

GOLDEN: Final = Path(__file__).parent / "golden"
LATER: Final = NOW + timedelta(days=1, milliseconds=7, microseconds=999)

ORDER: Final = an_order(
    metadata={"tier": "gold", "note": "Grüße"}, correlation_id="case-7", not_after=LATER
)
#: The order of a request that could not be read: who asked, and nothing else.
STUB: Final = an_order(
    provider=None, party_id=None, amount=None, currency=None, method=None, target_id=None, body=b""
)

#: The example of the public contract, with its placeholders.
CONTRACT: Final = """
{"event_id":"…uuid","type":"withdrawal.completed","sequence":4,"occurred_at":"2026-06-02T09:00:00.000Z",
 "message_id":"<of the request>","correlation_id":"…","provider":"bluum","withdrawal_id":"wd_01",
 "idempotency_key":"wd-…","status":"completed","previous_status":"processing","provider_status":"completed",
 "amount":"500.00","currency":"USD","method":"ach","party_id":"inv_01","reversal":false,
 "reason":{"code":"insufficient_funds","provider_code":"BLUM-422-001","message":"…"},"metadata":{}}
"""


def looked(withdrawal: Withdrawal, status: Status, word: str | None = None) -> Decision:
    """The provider was asked and answered."""
    return decide_look(
        withdrawal,
        reported(status, word=word, code="R01" if status is Status.FAILED else None),
        now=LATER,
        patience=PATIENCE,
        chance=EVEN,
    )


def created(withdrawal: Withdrawal, answer: Any) -> Decision:  # noqa: ANN401 - any answer
    """The first create call was answered."""
    return decide_create(
        Withdrawal(order=withdrawal.order, sequence=1, attempts=1, changed_at=NOW),
        answer,
        now=LATER,
        patience=PATIENCE,
        chance=EVEN,
    )


STORIES: Final = {
    "received": take_in(Withdrawal(order=ORDER, changed_at=NOW), now=NOW),
    "pending": created(a_withdrawal(ORDER), reported()),
    "completed": looked(
        a_pending(order=ORDER, status=Status.PROCESSING, sequence=3), Status.COMPLETED
    ),
    "failed": looked(a_pending(order=ORDER), Status.FAILED),
    "cancelled": looked(a_pending(order=ORDER), Status.CANCELLED, "canceled"),
    "rejected": created(a_withdrawal(ORDER), refused(INSUFFICIENT)),
    "unresolved": park(
        a_withdrawal(ORDER),
        Reason(ReasonCode.SEVERAL_CANDIDATES),
        cause=Cause.LOOKUP,
        now=LATER,
    ),
    "reversal": looked(
        a_pending(order=ORDER, status=Status.COMPLETED, sequence=4, due_at=None), Status.FAILED
    ),
    "raising_cash": placed(
        selling(
            FILLED,
            PLANNED,
            order=ORDER,
        ),
        a_report(1, PARTIAL, filled_quantity="1.5", average_price="187.20"),
        1,
        now=LATER,
    ),
    "invalid": refuse_at_the_door(
        Withdrawal(order=STUB, changed_at=NOW),
        Reason(ReasonCode.INVALID_REQUEST, detail="amount: expected to be present"),
        now=NOW,
    ),
}


def written(decision: Decision) -> dict[str, Any]:
    """The event of a decision's one change, read back."""
    (change,) = decision.changes
    document = json.loads(event(decision.withdrawal, change).body)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("name", STORIES)
def test_an_event_is_written_as_ever(name: str) -> None:
    """
    Every kind of event has a golden file; a change here is a change for every consumer.
    """
    golden = (GOLDEN / f"{name}.json").read_text(encoding="utf-8")

    document = written(STORIES[name])
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert golden.encode() == text.encode()


def test_every_golden_file_has_its_story() -> None:
    """
    No file is left behind that nothing is compared with.
    """
    assert sorted(STORIES) == sorted(path.stem for path in GOLDEN.iterdir())


def test_an_event_is_the_contracts_example() -> None:
    """
    Field by field and in the same order, once the example's placeholders are filled in.
    """
    decision = decide_look(
        a_pending(status=Status.PROCESSING, sequence=3),
        reported(Status.COMPLETED),
        now=datetime(2026, 6, 2, 9, tzinfo=UTC),
        patience=PATIENCE,
        chance=EVEN,
    )
    filled = {
        "event_id": event_id("req-1", 4),
        "message_id": "req-1",
        "correlation_id": "req-1",
        "idempotency_key": idempotency_key("req-1"),
        "reason": None,
    }

    assert list((json.loads(CONTRACT) | filled).items()) == list(written(decision).items())


def test_a_reason_is_the_contracts_example() -> None:
    """
    A code of ours, the provider's own, and a text of ours.
    """
    example = json.loads(CONTRACT)["reason"] | {"message": "the funds do not suffice"}

    assert list(example.items()) == list(written(STORIES["rejected"])["reason"].items())


@pytest.mark.parametrize("name", STORIES)
def test_an_event_agrees_with_its_outside(name: str) -> None:
    """
    Id, type and number beside the body, for its routing, are those within.
    """
    (change,) = STORIES[name].changes
    told = event(STORIES[name].withdrawal, change)
    document = json.loads(told.body)

    assert (document["event_id"], document["type"], document["sequence"]) == (
        told.event_id,
        told.type,
        told.sequence,
    )
    assert f"withdrawal.{document['status']}" == told.type


def test_an_event_is_written_the_same_each_time() -> None:
    """
    The same change makes the same bytes: a repeated event is a repetition.
    """
    (change,) = STORIES["completed"].changes
    withdrawal = STORIES["completed"].withdrawal

    assert event(withdrawal, change) == event(withdrawal, change)


def test_the_request_correlates_where_nothing_else_does() -> None:
    """
    Without a correlation id of its own, a request is correlated by its message id.
    """
    plain = take_in(Withdrawal(order=an_order("req-1"), changed_at=NOW), now=NOW)

    assert "req-1" == written(plain)["correlation_id"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("500", "500.00"),
        ("0.1", "0.10"),
        ("999999999999.99", "999999999999.99"),
        ("5E+2", "500.00"),
    ],
)
def test_money_is_a_text_with_two_decimals(amount: str, text: str) -> None:
    """
    Never a number, never an exponent.
    """
    order = an_order(amount=Decimal(amount))
    taken = take_in(Withdrawal(order=order, changed_at=NOW), now=NOW)

    assert text == written(taken)["amount"]


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOW, "2026-06-01T10:00:00.000Z"),
        (NOW.replace(microsecond=7_999), "2026-06-01T10:00:00.007Z"),
        (NOW.astimezone(timezone(timedelta(hours=5, minutes=30))), "2026-06-01T10:00:00.000Z"),
        (
            datetime(2026, 12, 31, 23, 0, tzinfo=timezone(-timedelta(hours=2))),
            "2027-01-01T01:00:00.000Z",
        ),
        (datetime(999, 1, 1, tzinfo=UTC), "0999-01-01T00:00:00.000Z"),
    ],
    ids=["whole", "cut", "east", "west", "ancient"],
)
def test_a_time_is_told_in_utc_with_milliseconds(at: datetime, text: str) -> None:
    """
    One form for all of them, so that texts sort as times do.
    """
    assert text == moment(at)


def test_what_the_provider_wrote_stays_inside() -> None:
    """
    An event names the provider's code, and explains it in our words alone.
    """
    reason = written(STORIES["failed"])["reason"]

    assert {
        "code": "failed_at_provider",
        "provider_code": "R01",
        "message": "the provider reported that the withdrawal failed",
    } == reason


def test_an_event_does_not_show_itself() -> None:
    """
    What a log may print of an event holds no metadata and no party.
    """
    (change,) = STORIES["completed"].changes

    assert "gold" not in repr(event(STORIES["completed"].withdrawal, change))
