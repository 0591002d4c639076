"""Cancel messages: what they may name, which are refused and why, and the answer in vain."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from tests.core.builders import NOW
from tests.core.wire import OWN_QUEUES, STRUCTURED
from worker.core.cancellations import Cancel, read_cancel, unknown_request
from worker.core.messages import BODY_LIMIT, Context, DeadReason, Envelope, Misread

INVALID: Final = DeadReason.INVALID
EITHER: Final = "body: expected either request_message_id, or withdrawal_id with its provider"
NAME: Final = "expected 1 to 255 bytes of text without control characters"
KNOWN: Final = "the known fields are request_message_id, provider, withdrawal_id, reason"
NO_NAMES: Final[list[object]] = [
    "",
    "  ",
    "a\x00",
    "\ud800",
    "é" * 128,
    7,
    ["req-1"],
    {},
    True,
]


def a_cancel(body: dict[str, Any] | bytes | None = None, **changes: Any) -> Envelope:  # noqa: ANN401
    """A cancel message, of a request unless told otherwise, with some properties changed."""
    document = {"request_message_id": "req-1"} if body is None else body
    encoded = document if isinstance(document, bytes) else json.dumps(document).encode()
    return replace(Envelope(body=encoded, message_id="cancel-1"), **changes)


def understand(envelope: Envelope) -> Cancel | Misread:
    """Read a message as a worker does that has Bluum enabled."""
    return read_cancel(
        envelope, providers={"bluum"}, default_provider="bluum", own_queues=OWN_QUEUES
    )


def understood(envelope: Envelope) -> Cancel:
    """Read a message that must be understood."""
    cancel = understand(envelope)
    assert isinstance(cancel, Cancel), cancel
    return cancel


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"request_message_id": "req-1"}, ("req-1", None, None, None)),
        ({"request_message_id": "é" * 127, "reason": "typo"}, ("é" * 127, None, None, "typo")),
        ({"provider": "bluum", "withdrawal_id": "wd_01"}, (None, "bluum", "wd_01", None)),
        ({"withdrawal_id": "wd.01:x"}, (None, "bluum", "wd.01:x", None)),
        (
            {"withdrawal_id": "wd_01", "request_message_id": None, "reason": None},
            (None, "bluum", "wd_01", None),
        ),
    ],
    ids=str,
)
def test_it_names_a_request_or_a_withdrawal(
    body: dict[str, Any], named: tuple[str | None, ...]
) -> None:
    """
    One of both; the provider is the default one where none is named, and null is absent.
    """
    cancel = understood(a_cancel(body))

    assert named == (
        cancel.request_message_id,
        cancel.provider,
        cancel.withdrawal_id,
        cancel.reason,
    )


def test_what_accompanies_it_is_kept() -> None:
    """
    For the answer: whom it concerns, where a copy goes, and the trace.
    """
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    cancel = understood(
        a_cancel(correlation_id="c-1", reply_to="answers", headers={"traceparent": trace})
    )

    assert "cancel-1" == cancel.message_id
    assert (
        Context(message_id="cancel-1", correlation_id="c-1", reply_to="answers", traceparent=trace)
        == cancel.context
    )


def test_a_cloud_event_is_as_good() -> None:
    """
    In structured mode its id is the message's, and its data the body.
    """
    plain = understood(a_cancel())
    data = {"request_message_id": "req-1"}
    event = {"specversion": "1.0", "id": "cancel-1", "data": data}
    cancel = understood(a_cancel(event, message_id=None, content_type=STRUCTURED))

    assert plain == cancel


def test_white_space_makes_no_other_cancellation() -> None:
    """
    The fingerprint is that of the content; another reason is another content.
    """
    spread = understood(a_cancel(b'{ "request_message_id" :\n"req-1" }'))
    other = understood(a_cancel({"request_message_id": "req-1", "reason": "typo"}))

    assert understood(a_cancel()).fingerprint == spread.fingerprint
    assert spread.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("body", "reason", "detail"),
    [
        ({}, INVALID, EITHER),
        ({"reason": "typo"}, INVALID, EITHER),
        ({"provider": "bluum"}, INVALID, EITHER),
        ({"request_message_id": "req-1", "withdrawal_id": "wd_1"}, INVALID, EITHER),
        (
            {"request_message_id": "req-1", "provider": "bluum"},
            INVALID,
            "provider: expected beside withdrawal_id alone",
        ),
        (
            {"request_message_id": "cancel-1"},
            INVALID,
            "request_message_id: expected the id of a request, not of this message",
        ),
        *(
            ({field: value}, INVALID, f"{field}: {NAME}")
            for field in ("request_message_id", "withdrawal_id")
            for value in NO_NAMES
        ),
        (
            {"request_message_id": "req-1", "reason": "x" * 501},
            INVALID,
            "reason: expected a text of at most 500 characters without control characters",
        ),
        (
            {"request_message_id": "req-1", "amount": "5.00"},
            INVALID,
            f"amount: expected to be absent: {KNOWN}",
        ),
        *(
            (
                {"withdrawal_id": "wd_1", "provider": value},
                DeadReason.UNKNOWN_PROVIDER,
                "provider: expected one that is enabled here: bluum",
            )
            for value in ("upvest", "", 7, None, ["bluum"])
        ),
        (b"[]", DeadReason.MALFORMED, "body: expected a JSON object"),
        (b"", DeadReason.MALFORMED, "body: expected one JSON object"),
        (
            b'{"request_message_id":"a","request_message_id":"b"}',
            DeadReason.MALFORMED,
            "body: expected each field once",
        ),
        (
            b" " * (BODY_LIMIT + 1),
            DeadReason.TOO_LARGE,
            "body: expected at most 65536 bytes, got 65537",
        ),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_cannot_be_carried_out_is_named(
    body: dict[str, Any] | bytes, reason: DeadReason, detail: str
) -> None:
    """
    The field and what was expected of it, never its value.
    """
    message = understand(a_cancel(body))

    assert isinstance(message, Misread), message
    assert (reason, detail) == (message.reason, message.detail)


@pytest.mark.parametrize(
    ("properties", "reason", "field"),
    [
        ({"message_id": None}, DeadReason.MISSING_MESSAGE_ID, "message_id"),
        ({"content_type": "text/plain"}, DeadReason.UNSUPPORTED_TYPE, "content_type"),
        ({"reply_to": "withdrawals.cancellations"}, INVALID, "reply_to"),
        ({"correlation_id": "a\x00"}, INVALID, "correlation_id"),
    ],
    ids=str,
)
def test_its_properties_are_those_of_a_request(
    properties: dict[str, Any], reason: DeadReason, field: str
) -> None:
    """
    What is refused around a request is refused around a cancellation.
    """
    message = understand(a_cancel(**properties))

    assert isinstance(message, Misread), message
    assert (reason, field) == (message.reason, message.detail.partition(":")[0])


def test_the_answer_to_one_in_vain() -> None:
    """
    An event outside any sequence, which names what was named and knows nothing else.
    """
    cancel = understood(a_cancel({"request_message_id": "req-1", "reason": "typo"}))
    event = unknown_request(cancel, at=NOW)

    assert ("withdrawal.cancel_refused", 0) == (event.type, event.sequence)
    assert {
        "event_id": event.event_id,
        "type": "withdrawal.cancel_refused",
        "sequence": 0,
        "occurred_at": "2026-06-01T10:00:00.000Z",
        "message_id": "req-1",
        "correlation_id": "cancel-1",
        "provider": None,
        "withdrawal_id": None,
        "idempotency_key": None,
        "status": None,
        "previous_status": None,
        "provider_status": None,
        "amount": None,
        "currency": None,
        "method": None,
        "party_id": None,
        "reversal": False,
        "reason": {
            "code": "unknown_request",
            "provider_code": None,
            "message": "no such request is known",
        },
        "metadata": {},
    } == json.loads(event.body)


def test_the_answer_names_a_withdrawal_that_was_named() -> None:
    """
    And carries the correlation id of whoever asked.
    """
    named = a_cancel({"withdrawal_id": "wd_01"}, correlation_id="c-1")
    document = json.loads(unknown_request(understood(named), at=NOW).body)

    assert (None, "bluum", "wd_01", "c-1") == tuple(
        document[name] for name in ("message_id", "provider", "withdrawal_id", "correlation_id")
    )


def test_the_answer_repeats_itself_exactly() -> None:
    """
    A consumer that drops repeated ids hears of one cancellation once, and of another as another.
    """
    cancel = understood(a_cancel())
    other = understood(a_cancel(message_id="cancel-2"))

    assert unknown_request(cancel, at=NOW) == unknown_request(cancel, at=NOW)
    assert (
        unknown_request(cancel, at=NOW).event_id
        == unknown_request(cancel, at=NOW + timedelta(hours=1)).event_id
    )
    assert unknown_request(cancel, at=NOW).event_id != unknown_request(other, at=NOW).event_id
