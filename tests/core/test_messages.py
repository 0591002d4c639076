"""What is understood of a message, in each form in which it may come."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.core.wire import GOOD, STRUCTURED, a_body, a_message, misread, understood
from worker.core.messages import Context, DeadReason, Envelope
from worker.providers.bluum import BluumRequest

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CLOUD = {"specversion": "1.0", "id": "req-1", "type": "withdrawal.request", "source": "/app"}


def a_cloud_event(**attributes: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A CloudEvent in structured mode."""
    return json.dumps(CLOUD | attributes).encode()


GOOD_REQUEST = BluumRequest.model_validate(GOOD)

FORMS = {
    "plain": a_message(),
    "no content type": a_message(content_type=None),
    "empty content type": a_message(content_type=""),
    "charset": a_message(content_type="application/json; charset=utf-8"),
    "quoted charset": a_message(content_type='Application/JSON;Charset="UTF-8"'),
    "other parameter": a_message(content_type="application/json; version=1"),
    "content encoding utf-8": a_message(content_encoding="UTF-8"),
    "content encoding identity": a_message(content_encoding="identity"),
    "white space around": a_message(b" \n\t" + a_body() + b"\r\n "),
    "default provider": a_message(a_body(provider=...)),
    "binary, colon": Envelope(
        body=a_body(),
        headers={"cloudEvents:specversion": "1.0", "cloudEvents:id": "req-1"},
    ),
    "binary, underscore": Envelope(
        body=a_body(),
        headers={"cloudEvents_specversion": "1.0", "cloudEvents_id": "req-1"},
    ),
    "binary, both ids": a_message(
        headers={"cloudEvents:specversion": "1.0", "cloudEvents:id": "another"}
    ),
    "structured": Envelope(body=a_cloud_event(data=GOOD), content_type=STRUCTURED),
    "structured, charset": Envelope(
        body=a_cloud_event(data=GOOD, datacontenttype="application/json; charset=utf-8"),
        content_type=f"{STRUCTURED}; charset=utf-8",
    ),
    "structured, base64": Envelope(
        body=a_cloud_event(data_base64=base64.b64encode(a_body()).decode()),
        content_type=STRUCTURED,
    ),
    "structured, both ids": Envelope(
        body=a_cloud_event(id="another", data=GOOD), content_type=STRUCTURED, message_id="req-1"
    ),
}


@pytest.mark.parametrize("envelope", FORMS.values(), ids=FORMS)
def test_a_request_is_understood_in_every_form(envelope: Envelope) -> None:
    """
    The same request under the same id, however it is wrapped.
    """
    message = understood(envelope)

    assert "req-1" == message.message_id == message.context.message_id
    assert "bluum" == message.provider
    assert GOOD_REQUEST == message.request


def test_a_full_request_is_understood() -> None:
    """
    Every option of the contract that this release carries out arrives, times in UTC.
    """
    body = a_body(
        description="Monthly withdrawal",
        not_after="2026-06-02T11:00:00.5+02:00",
        metadata={"tier": "gold", "": "ü"},
    )

    request = understood(a_message(body)).request

    assert ("inv_01", "fs_01", "ach") == (
        request.party_id,
        request.target_id,
        request.payout_method,
    )
    assert (Decimal("500.00"), "USD") == (request.amount, request.currency)
    assert datetime(2026, 6, 2, 9, 0, 0, 500_000, tzinfo=UTC) == request.not_after
    assert UTC is request.not_after.tzinfo
    assert {"tier": "gold", "": "ü"} == request.metadata


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("500", "500.00"),
        ("500.5", "500.50"),
        ("0.01", "0.01"),
        ("999999999999.99", "999999999999.99"),
    ],
)
def test_an_amount_has_two_decimals(written: str, amount: str) -> None:
    """
    However it was written, it is kept to the cent, and never as a float.
    """
    request = understood(a_message(a_body(amount=written))).request

    assert amount == str(request.amount)


def test_what_accompanies_a_message_is_carried_on() -> None:
    """
    Reply address, correlation and trace come from the properties and the plain header.
    """
    envelope = a_message(
        correlation_id="case-7",
        reply_to="answers",
        headers={"traceparent": TRACEPARENT, "x-other": "1"},
    )

    assert (
        Context(
            message_id="req-1",
            correlation_id="case-7",
            reply_to="answers",
            traceparent=TRACEPARENT,
        )
        == understood(envelope).context
    )


@pytest.mark.parametrize(
    "envelope",
    [
        a_message(
            headers={"cloudEvents:specversion": "1.0", "cloudEvents:traceparent": TRACEPARENT}
        ),
        a_message(a_cloud_event(data=GOOD, traceparent=TRACEPARENT), content_type=STRUCTURED),
    ],
    ids=["binary", "structured"],
)
def test_a_cloud_event_may_carry_the_trace(envelope: Envelope) -> None:
    """
    The tracing extension of CloudEvents serves where there is no header.
    """
    assert TRACEPARENT == understood(envelope).context.traceparent


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "junk",
        TRACEPARENT.upper(),
        TRACEPARENT + "-00",
        "ff" + TRACEPARENT[2:],
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    ],
)
def test_a_broken_trace_stops_no_payout(broken: str) -> None:
    """
    A trace that cannot be read is left out.
    """
    envelope = a_message(headers={"traceparent": broken})

    assert understood(envelope).context.traceparent is None


def test_empty_properties_are_absent_ones() -> None:
    """
    Some clients write an empty text where they mean nothing; it is no reason to refuse a payout.
    """
    envelope = a_message(correlation_id="", reply_to="")

    assert Context(message_id="req-1") == understood(envelope).context


@pytest.mark.parametrize("message_id", ["x", "x" * 255, "ü" * 127, "a b", "../x", "\u202e"])
def test_a_message_id_is_any_short_text(message_id: str) -> None:
    """
    Up to 255 bytes, which is what AMQP can carry; only what cannot be stored or read is refused.
    """
    assert message_id == understood(a_message(message_id=message_id)).message_id


def test_a_misread_message_keeps_what_is_needed_to_answer() -> None:
    """
    The id that is spent and where the answer goes are known, even if the request is not.
    """
    envelope = Envelope(
        body=a_cloud_event(id="req-9", data=[]),
        content_type=STRUCTURED,
        correlation_id="case-7",
        reply_to="answers",
    )

    message = misread(envelope)

    assert DeadReason.MALFORMED is message.reason
    assert (
        Context(message_id="req-9", correlation_id="case-7", reply_to="answers") == message.context
    )


def test_the_document_is_kept_as_it_came() -> None:
    """
    What was asked for is stored in one spelling, without a default filled in.
    """
    message = understood(a_message(a_body(provider=...)))

    assert (
        '{"amount":"500.00","currency":"USD","funding_source_id":"fs_01","investor_id":"inv_01",'
        '"method":"ach"}'
    ) == message.document
