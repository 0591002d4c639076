"""Which messages are refused before their fields are looked at, and under which reason."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

import pytest

from tests.core.wire import GOOD, STRUCTURED, a_body, a_message, misread, understood
from worker.core.messages import BODY_LIMIT, DeadReason, Envelope

INVALID: Final = DeadReason.INVALID
MALFORMED: Final = DeadReason.MALFORMED
MISSING: Final = DeadReason.MISSING_MESSAGE_ID
TOO_LARGE: Final = DeadReason.TOO_LARGE
UNSUPPORTED: Final = DeadReason.UNSUPPORTED_TYPE

SYNTAX: Final = "body: expected one JSON object"
OBJECT: Final = "body: expected a JSON object"
UTF_8: Final = "body: expected UTF-8"
CONSTANT: Final = "body: expected JSON without NaN and Infinity"
ONCE: Final = "body: expected each field once"
LEVELS: Final = "body: expected at most 16 levels"
LENGTH: Final = "body: expected at most 65536 bytes, got 65537"
MESSAGE_ID: Final = "message_id: expected 1 to 255 bytes of text without control characters"
CONTENT_TYPE: Final = "content_type: expected application/json or application/cloudevents+json"
CHARSET: Final = "content_type: expected the character set utf-8"
ENCODING: Final = "content_encoding: expected none"
PROVIDER: Final = "provider: expected one that is enabled here: bluum"
VERSION: Final = "specversion: expected CloudEvents 1.0"
DATA_TYPE: Final = "datacontenttype: expected application/json"
DATA: Final = "data: expected a JSON object"
EITHER: Final = "data: expected either data or data_base64"
BASE64: Final = "data_base64: expected base64"


class Row(NamedTuple):
    """A body or property of which some values are refused alike."""

    what: str
    theme: str
    reason: DeadReason
    detail: str
    values: list[Any]


def levels(count: int) -> bytes:
    """A body of so many levels, itself the first."""
    return b'{"x":' * count + b"1" + b"}" * count


def cloud_event(attributes: dict[str, Any]) -> bytes:
    """A CloudEvent in structured mode with some attributes changed, or left out with ...."""
    plain = {"specversion": "1.0", "id": "req-1", "data": GOOD}
    kept = {name: value for name, value in (plain | attributes).items() if value is not ...}
    return json.dumps(kept).encode()


ROWS: Final = [
    Row("body", "nothing", MALFORMED, SYNTAX, [b"", b" \n"]),
    Row("body", "no JSON", MALFORMED, SYNTAX, [b"hello", b"{'a':1}", b"{}//", b"\x00"]),
    Row("body", "nearly JSON", MALFORMED, SYNTAX, [a_body()[:-1], b'{"a":1,}', b'{"a":"\n"}']),
    Row("body", "more than one", MALFORMED, SYNTAX, [b"{}{}", a_body() + b"\x00"]),
    Row("body", "byte order mark", MALFORMED, SYNTAX, [b"\xef\xbb\xbf" + a_body()]),
    Row("body", "5000 digits", MALFORMED, SYNTAX, [b'{"amount":' + b"9" * 5000 + b"}"]),
    Row("body", "no object", MALFORMED, OBJECT, [b"[]", b'"x"', b"null", b"true", b"1", b"1.5"]),
    Row("body", "list of requests", MALFORMED, OBJECT, [b"[" + a_body() + b"]"]),
    Row("body", "latin-1", MALFORMED, UTF_8, [b'{"a":"\xfc"}']),
    Row("body", "utf-16", MALFORMED, UTF_8, [a_body().decode().encode("utf-16")]),
    Row("body", "no Unicode", MALFORMED, UTF_8, [b'{"a":"\xed\xa0\x80"}', b'{"a":"\xc0\xaf"}']),
    Row("body", "compressed", MALFORMED, UTF_8, [b"\x1f\x8b\x08\x00"]),
    Row(
        "body", "no number", MALFORMED, CONSTANT, [b'{"a":NaN}', b'{"a":[-Infinity]}', b"Infinity"]
    ),
    Row("body", "field twice", MALFORMED, ONCE, [b'{"amount":"1","amount":"2"}']),
    Row("body", "field twice, alike", MALFORMED, ONCE, [b'{"amount":"1","amount":"1"}']),
    Row("body", "field twice, inside", MALFORMED, ONCE, [b'{"metadata":{"a":"1","\\u0061":"1"}}']),
    Row(
        "body", "17 levels", MALFORMED, LEVELS, [levels(17), b'{"x":%s}' % (b"[" * 16 + b"]" * 16)]
    ),
    Row("body", "16 levels", INVALID, "amount: expected to be present", [levels(16)]),
    Row("body", "30000 levels", MALFORMED, SYNTAX, [b"[" * 30_000, b'{"a":' * 10_000]),
    Row("body", "100000 levels", TOO_LARGE, "body: expected at most 65536 bytes", [b"[" * 100_000]),
    Row("body", "one byte too long", TOO_LARGE, LENGTH, [a_body().ljust(BODY_LIMIT + 1)]),
    Row("message_id", "absent", MISSING, MESSAGE_ID, [None, ""]),
    Row("message_id", "blank", MISSING, MESSAGE_ID, [" ", "\t", "\u2003"]),
    Row("message_id", "256 bytes", MISSING, MESSAGE_ID, ["x" * 256, "\u00fc" * 128]),
    Row("message_id", "control characters", MISSING, MESSAGE_ID, ["a\x00", "a\nb", "\x7f", "\x85"]),
    Row("message_id", "lone surrogate", MISSING, MESSAGE_ID, ["\ud800"]),
    *(
        Row(name, theme, INVALID, f"{name}: expected at most 255 bytes", values)
        for name in ("correlation_id", "reply_to")
        for theme, values in (
            ("control characters", ["a\x00", "a\nb"]),
            ("blank", [" "]),
            ("256 bytes", ["x" * 256]),
        )
    ),
    Row("reply_to", "own queue", INVALID, "reply_to: expected a queue", ["withdrawals.requests"]),
    Row("content_encoding", "compressed", UNSUPPORTED, ENCODING, ["gzip", "deflate", "br"]),
    Row("content_encoding", "other", UNSUPPORTED, ENCODING, ["utf-16", "base64"]),
    Row("content_type", "text", UNSUPPORTED, CONTENT_TYPE, ["text/plain", "text/json", "json"]),
    Row("content_type", "other", UNSUPPORTED, CONTENT_TYPE, ["application/xml", "*/*"]),
    Row("content_type", "batch", UNSUPPORTED, CONTENT_TYPE, ["application/cloudevents-batch+json"]),
    Row("content_type", "charset", UNSUPPORTED, CHARSET, ["application/json; charset=latin1"]),
    Row("content_type", "quoted", UNSUPPORTED, CHARSET, ['application/json;Charset = "utf-16"']),
    Row("headers", "no version", UNSUPPORTED, VERSION, [{"cloudEvents:id": "1"}]),
    Row("headers", "old version", UNSUPPORTED, VERSION, [{"cloudEvents:specversion": "0.3"}]),
    Row("headers", "odd version", UNSUPPORTED, VERSION, [{"cloudEvents_specversion": "1"}]),
    Row(
        "provider",
        "unknown",
        DeadReason.UNKNOWN_PROVIDER,
        PROVIDER,
        ["acme", "BLUUM", "", "\ud800"],
    ),
    Row("provider", "not enabled", DeadReason.UNKNOWN_PROVIDER, PROVIDER, ["upvest"]),
    Row("provider", "other type", DeadReason.UNKNOWN_PROVIDER, PROVIDER, [None, 1, ["bluum"], {}]),
    Row("specversion", "unfit", UNSUPPORTED, VERSION, [..., "0.3", "1", 1.0, None]),
    Row("datacontenttype", "unfit", UNSUPPORTED, DATA_TYPE, ["text/xml", "", None, 1]),
    Row("data", "absent", MALFORMED, EITHER, [...]),
    Row("data", "no object", MALFORMED, DATA, [None, [], 1, json.dumps(GOOD)]),
    Row("data", "unfit", INVALID, "amount: expected", [GOOD | {"amount": 5}]),
    Row("data_base64", "beside data", MALFORMED, EITHER, ["e30="]),
    Row(
        "data_base64 alone", "unfit", MALFORMED, BASE64, ["e30", "e3 0=", "_-_-", "\u00fc", None, 1]
    ),
    Row("data_base64 alone", "empty", MALFORMED, "data_base64: expected one JSON object", [""]),
    Row("data_base64 alone", "list", MALFORMED, "data_base64: expected a JSON object", ["W10="]),
    Row("id", "absent", MISSING, MESSAGE_ID, [..., "", None]),
    Row("id", "unfit", MISSING, MESSAGE_ID, ["a\x00", 1, ["a"]]),
    # An attribute may be longer than a property: what AMQP could not repeat must be refused here.
    Row("id", "255 umlauts", MISSING, MESSAGE_ID, ["\u00fc" * 255]),
]
PROPERTIES: Final = {
    "message_id",
    "correlation_id",
    "reply_to",
    "content_encoding",
    "content_type",
    "headers",
}


def message(what: str, value: Any) -> Envelope:  # noqa: ANN401 - whatever a row holds
    """A message that is good but for one thing."""
    if what == "body":
        return a_message(value)
    if what == "provider":
        return a_message(a_body(provider=value))
    if what in PROPERTIES:
        return a_message(**{what: value})
    attributes = {what: value}
    if what == "data_base64 alone":
        attributes = {"data": ..., "data_base64": value}
    return Envelope(body=cloud_event(attributes), content_type=STRUCTURED)


CASES: Final = [
    pytest.param(
        message(row.what, value),
        row.reason,
        row.detail,
        id=f"{row.what}, {row.theme}, {number}",
    )
    for row in ROWS
    for number, value in enumerate(row.values)
]


@pytest.mark.parametrize(("envelope", "reason", "detail"), CASES)
def test_an_unfit_message_is_refused(envelope: Envelope, reason: DeadReason, detail: str) -> None:
    """
    With the contract's reason, and a detail that begins with what was expected of what.
    """
    refusal = misread(envelope)

    assert (reason, detail) == (refusal.reason, refusal.detail[: len(detail)])


def test_an_unfit_id_is_not_replaced() -> None:
    """
    CloudEvents' id serves where there is no message id, not where there is a wrong one.
    """
    headers = {"cloudEvents:specversion": "1.0", "cloudEvents:id": "req-1"}

    assert MISSING is misread(a_message(message_id="a\x00", headers=headers)).reason


@pytest.mark.parametrize("body", [a_body(), b"{}", b"no JSON"], ids=["good", "unfit", "broken"])
def test_no_answer_goes_to_a_queue_of_our_own(body: bytes) -> None:
    """
    Whatever else is wrong with it, its rejection must not come in as a request.
    """
    assert misread(a_message(body, reply_to="withdrawals.requests")).context.reply_to is None


def test_a_body_of_exactly_the_limit_is_read() -> None:
    """
    64 KiB are allowed, the white space included.
    """
    understood(a_message(a_body().ljust(BODY_LIMIT)))
