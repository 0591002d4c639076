"""Malformed and hostile messages as a table: what each is, and what has to come of it.

Bodies and properties are bytes, written by hand where no library would write them. Only what is
sent, and what the contract (section 4) says of it, stands here."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from tests.rabbitmq.wire import long, moment, pairs, properties, short, table, text
from worker.core.messages import BODY_LIMIT, DeadReason

MALFORMED: Final = DeadReason.MALFORMED
INVALID: Final = DeadReason.INVALID
MISSING: Final = DeadReason.MISSING_MESSAGE_ID
REUSED: Final = DeadReason.MESSAGE_ID_REUSED
TOO_LARGE: Final = DeadReason.TOO_LARGE
UNKNOWN: Final = DeadReason.UNKNOWN_PROVIDER
UNSUPPORTED: Final = DeadReason.UNSUPPORTED_TYPE

#: A request that was paid before any of these came.
PAID_BEFORE: Final = "paid-before"
STRUCTURED: Final = b"application/cloudevents+json"
ODD: Final = b"\xff\xfe\x80"


class NoLetter(Enum):
    """What comes of a message that is no dead letter."""

    #: Odd, and carried out all the same.
    PAID = auto()
    #: Valid, and its time is over.
    REJECTED = auto()


Outcome = DeadReason | NoLetter


@dataclass(frozen=True, slots=True)
class Hostile:
    """One message; `message_id` is the id that its events come under, None when there is none."""

    name: str
    outcome: Outcome
    body: bytes
    encoded: bytes
    message_id: str | None


def a_body(**fields: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A valid request with some fields changed; a field that is changed to ... is left out."""
    valid = {
        "investor_id": "inv_hostile",
        "amount": "1.00",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": "fs_secret_1",
    }
    return json.dumps({k: v for k, v in (valid | fields).items() if v is not ...}).encode()


_count = iter(range(1_000_000))


def hostile(
    name: str,
    outcome: Outcome,
    body: bytes = a_body(),
    *,
    told: str | None = "",
    **fields: bytes | None,
) -> Hostile:
    """Make a message with an id of its own; `told` is the id that its events come under."""
    own = f"hostile-{next(_count)}"
    plain = {"message_id": short(own.encode()), "content_type": short(b"application/json")}
    kept = {field: value for field, value in (plain | fields).items() if value is not None}
    return Hostile(name, outcome, body, properties(**kept), own if told == "" else told)


def invalid(name: str, **changes: Any) -> Hostile:  # noqa: ANN401 - any JSON
    """A message that is valid but for some fields of its body."""
    return hostile(name, INVALID, a_body(**changes))


def headed(name: str, *headers: tuple[bytes, bytes], outcome: Outcome = NoLetter.PAID) -> Hostile:
    """A valid message with such headers."""
    return hostile(name, outcome, headers=pairs(*headers))


def cloud_event(**attributes: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A CloudEvent in structured mode; what is changed to ... is left out."""
    valid = {"specversion": "1.0", "id": "1", "source": "/", "type": "t"}
    valid["data"] = json.loads(a_body())
    return json.dumps({k: v for k, v in (valid | attributes).items() if v is not ...}).encode()


def structured(name: str, outcome: Outcome, **attributes: Any) -> Hostile:  # noqa: ANN401
    """A message that is such a CloudEvent."""
    return hostile(name, outcome, cloud_event(**attributes), content_type=short(STRUCTURED))


def nameless(name: str, message_id: bytes | None, marker: str) -> Hostile:
    """A message whose id cannot be used; the marker tells its body from the others'."""
    body = a_body(metadata={"marker": marker})
    encoded = None if message_id is None else short(message_id)
    return hostile(name, MISSING, body, told=None, message_id=encoded)


def levels(count: int, opening: bytes = b'{"x":', closing: bytes = b"}") -> bytes:
    """A body of so many levels."""
    return opening * count + b"1" + closing * count


def nested(depth: int) -> bytes:
    """A header's value of so many tables, one in the other."""
    value = b"V"
    for _ in range(depth):
        value = b"F" + table(t=value)
    return value


#: As deep as fits into a frame with its lengths.
DEEPEST: Final = 9_000
_PLAIN: Final = a_body()

BODIES: Final = (
    hostile("nothing", MALFORMED, b""),
    hostile("blanks", MALFORMED, b" \r\n\t "),
    hostile("truncated JSON", MALFORMED, _PLAIN[:-1]),
    hostile("truncated in a text", MALFORMED, _PLAIN[:40]),
    hostile("truncated in an escape", MALFORMED, b'{"amount":"\\u00'),
    hostile("a word", MALFORMED, b"withdraw"),
    hostile("null", MALFORMED, b"null"),
    hostile("a list of requests", MALFORMED, b"[" + _PLAIN + b"]"),
    hostile("a text that holds JSON", MALFORMED, json.dumps(_PLAIN.decode()).encode()),
    hostile("two objects", MALFORMED, _PLAIN + _PLAIN),
    hostile("something behind", MALFORMED, _PLAIN + b"\x00"),
    hostile("a comma too many", MALFORMED, b'{"amount":"1.00",}'),
    hostile("single quotes", MALFORMED, b"{'amount':'1.00'}"),
    hostile("a comment", MALFORMED, b"{} // nothing"),
    hostile("XML", MALFORMED, b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "b">]><a>&a;</a>'),
    hostile("NaN", MALFORMED, b'{"amount":NaN}'),
    hostile("-Infinity", MALFORMED, b'{"amount":-Infinity}'),
    hostile("a field twice", MALFORMED, b'{"amount":"1.00","amount":"9.00"}'),
    hostile("a field twice, escaped", MALFORMED, b'{"amount":"1.00","\\u0061mount":"9.00"}'),
    hostile("a field twice, inside", MALFORMED, b'{"metadata":{"a":"1","a":"2"}}'),
    hostile("byte order mark", MALFORMED, b"\xef\xbb\xbf" + _PLAIN),
    hostile("UTF-16", MALFORMED, _PLAIN.decode().encode("utf-16")),
    hostile("UTF-16 without mark", MALFORMED, _PLAIN.decode().encode("utf-16-le")),
    hostile("UTF-32", MALFORMED, _PLAIN.decode().encode("utf-32")),
    hostile("UTF-7 and DEL", INVALID, a_body(description="+AAA-\x7f")),
    hostile("latin-1", MALFORMED, b'{"description":"\xfc"}'),
    hostile("overlong UTF-8", MALFORMED, b'{"description":"\xc0\xaf"}'),
    hostile("encoded surrogate", MALFORMED, b'{"description":"\xed\xa0\x80"}'),
    hostile("NUL bytes", MALFORMED, 1000 * b"\x00"),
    hostile("NUL within", MALFORMED, _PLAIN[:10] + b"\x00" + _PLAIN[10:]),
    hostile("17 levels", MALFORMED, levels(17)),
    hostile("9,000 objects deep", MALFORMED, levels(9_000)),
    hostile("30,000 lists deep", MALFORMED, levels(30_000, b"[", b"]")),
    hostile("60,000 lists never closed", MALFORMED, 60_000 * b"["),
    hostile("100,000 lists deep", TOO_LARGE, levels(100_000, b"[", b"]")),
    hostile("a number of 5,000 digits", MALFORMED, b'{"amount":' + 5_000 * b"9" + b"}"),
    hostile("64 KiB and a byte", TOO_LARGE, _PLAIN.ljust(BODY_LIMIT + 1)),
    hostile("4 MiB", TOO_LARGE, _PLAIN.ljust(4 * 2**20)),
    hostile("compressed, unsaid", MALFORMED, gzip.compress(_PLAIN)),
    hostile("4,000 unknown fields", INVALID, a_body(**{f"f{n}": n for n in range(4_000)})),
)

FIELDS: Final = (
    *(
        invalid(f"amount {value!r}", amount=value)
        for value in (
            "1e9",
            "1e1000000",
            "-1",
            "-0.01",
            "0",
            "0.00",
            "0.001",
            ".5",
            "007",
            "1,000",
            " 5.00",
            "5.00\n",
            "\u0663",
            "\uff15",
            "0x10",
            "NaN",
            "1000000000000",
            "",
            5,
            5.5,
            10**30,
            True,
            None,
            ["5.00"],
            {"value": "5.00"},
        )
    ),
    invalid("no amount", amount=...),
    hostile("amount 1e400", INVALID, a_body().replace(b'"1.00"', b"1e400")),
    hostile("amount of 4,000 digits", INVALID, a_body().replace(b'"1.00"', 4_000 * b"9")),
    invalid("a description of 60 KiB", description=60 * 1024 * "x"),
    invalid("a field's name of 60 KiB", **{60 * 1024 * "x": "1"}),
    invalid("a description of 501 characters", description=501 * "x"),
    invalid("a description with a line", description="rent\r\nX-Evil: 1"),
    invalid("a description with NUL", description="rent\x00"),
    invalid("a description with half a character", description="\ud800"),
    invalid("a name that is half a character", **{"\udfff": "1"}),
    invalid("currency in lower case", currency="usd"),
    invalid("currency of four letters", currency="USDT"),
    invalid("currency in other letters", currency="\uff35\uff33\uff24"),
    invalid("no currency", currency=...),
    invalid("unknown method", method="ach_plaid"),
    invalid("a path for an investor", investor_id="../inv_2/withdrawals/wd_1/cancel?x="),
    invalid("an investor who is a number", investor_id=1),
    invalid("no funding source", funding_source_id=...),
    invalid("metadata too large", metadata={"a": 2048 * "x"}),
    invalid("metadata too large in bytes", metadata={"a": 700 * "\u20ac"}),
    invalid("nested metadata", metadata={"a": {"b": "c"}}),
    invalid("metadata that is a list", metadata=[["a", "b"]]),
    invalid("metadata with a number", metadata={"a": 1}),
    invalid("metadata with NUL", metadata={"\x00": "a"}),
    invalid("sell nothing of it", sell=[{"symbol": "VTI", "quantity": "0"}]),
    invalid("sell less than nothing", sell=[{"symbol": "VTI", "quantity": "-1"}]),
    invalid("wait for funds till some day", wait_for_funds_until="2999-06-02"),
    invalid("not_after without a zone", not_after="2999-06-02T09:00:00"),
    invalid("not_after as a number", not_after=32_503_680_000),
    invalid("not_after beyond the calendar", not_after="9999-12-31T23:59:59-23:59"),
    invalid("not_after in a month 13", not_after="2999-13-02T09:00:00Z"),
    invalid("another provider's fields beside ours", account_group_id="g"),
    invalid("wire options", method="wire", wire_options={}),
    invalid("a field of Python's", __class__="worker.Request", model_config={}),
    hostile("an unknown provider", UNKNOWN, a_body(provider="acme")),
    hostile("a provider in capitals", UNKNOWN, a_body(provider="BLUUM")),
    hostile("a provider that is a list", UNKNOWN, a_body(provider=["bluum"])),
    hostile("a provider that is null", UNKNOWN, a_body(provider=None)),
    hostile(
        "another provider's request",
        UNKNOWN,
        json.dumps(
            {"provider": "upvest", "account_group_id": "g", "amount": "200.00", "currency": "EUR"}
        ).encode(),
    ),
    hostile("not_after has passed", NoLetter.REJECTED, a_body(not_after="2001-01-01T00:00:00Z")),
    hostile(
        "not_after at the calendar's beginning",
        NoLetter.REJECTED,
        a_body(not_after="0001-01-01T00:00:00Z"),
    ),
    hostile(
        "not_after at the calendar's end",
        NoLetter.PAID,
        a_body(not_after="9999-12-31T23:59:59.999999999Z"),
    ),
    hostile(
        "another request's reference in the description",
        NoLetter.PAID,
        a_body(description="[wd:0123456789ab] [wd:ba9876543210]"),
    ),
    hostile(
        "a description from right to left",
        NoLetter.PAID,
        a_body(description="\u202egnp.exe \u2066\U0001f4b6"),
    ),
    hostile(
        "a description of 500 characters of four bytes",
        NoLetter.PAID,
        a_body(description=500 * "\U0001f4b6"),
    ),
    hostile(
        "a description that looks like SQL and HTML",
        NoLetter.PAID,
        a_body(description="'; DROP TABLE withdrawals; --<script>%s%n{0}${jndi:x}"),
    ),
    hostile("white space up to the limit", NoLetter.PAID, a_body().ljust(BODY_LIMIT)),
)

CLOUD_EVENTS: Final = (
    structured("no version", UNSUPPORTED, specversion=...),
    structured("version 0.3", UNSUPPORTED, specversion="0.3"),
    structured("a version that is a number", UNSUPPORTED, specversion=1.0),
    structured("data as XML", UNSUPPORTED, datacontenttype="text/xml"),
    structured("no data", MALFORMED, data=...),
    structured("data that is a text", MALFORMED, data=a_body().decode()),
    structured("data in two forms", MALFORMED, data_base64="e30="),
    structured("data that is no base64", MALFORMED, data=..., data_base64="e3 0="),
    structured("data that is a number in base64", MALFORMED, data=..., data_base64=7),
    structured(
        "data in base64, compressed",
        MALFORMED,
        data=...,
        data_base64=base64.b64encode(gzip.compress(a_body())).decode(),
    ),
    structured(
        "an event within the event",
        INVALID,
        data=json.loads(cloud_event()),
    ),
    structured(
        "data in base64, 9,000 levels deep",
        MALFORMED,
        data=...,
        data_base64=base64.b64encode(levels(3_000)).decode(),
    ),
    hostile(
        "an event without any id",
        MISSING,
        cloud_event(id=...),
        told=None,
        message_id=None,
        content_type=short(STRUCTURED),
    ),
    hostile(
        "an event's id of 256 bytes",
        MISSING,
        cloud_event(id=256 * "x"),
        told=None,
        message_id=None,
        content_type=short(STRUCTURED),
    ),
    hostile(
        "an event's id with NUL",
        MISSING,
        cloud_event(id="a\x00"),
        told=None,
        message_id=None,
        content_type=short(STRUCTURED),
    ),
    hostile("a batch", UNSUPPORTED, content_type=short(b"application/cloudevents-batch+json")),
    headed("binary, no version", (b"cloudEvents:id", text(b"1")), outcome=UNSUPPORTED),
    headed("binary, old", (b"cloudEvents:specversion", text(b"0.3")), outcome=UNSUPPORTED),
    headed("binary, odd bytes", (b"cloudEvents:specversion", text(ODD))),
)

PROPERTIES: Final = (
    hostile("no content type", NoLetter.PAID, content_type=None),
    hostile("content type text", UNSUPPORTED, content_type=short(b"text/plain")),
    hostile("content type in odd bytes", UNSUPPORTED, content_type=short(ODD)),
    hostile("content type of 255 bytes", UNSUPPORTED, content_type=short(255 * b"/")),
    hostile("charset UTF-16", UNSUPPORTED, content_type=short(b"application/json; charset=utf-16")),
    hostile("compressed", UNSUPPORTED, gzip.compress(a_body()), content_encoding=short(b"gzip")),
    hostile("said to be compressed", UNSUPPORTED, content_encoding=short(b"gzip")),
    hostile(
        "a bomb: 16 MiB in 16 KiB",
        UNSUPPORTED,
        gzip.compress(bytes(16 * 2**20)),
        content_encoding=short(b"gzip"),
    ),
    hostile("encoding in odd bytes", UNSUPPORTED, content_encoding=short(ODD)),
    nameless("no message id", None, "a"),
    nameless("empty message id", b"", "b"),
    nameless("message id of blanks", b"   \t ", "c"),
    nameless("message id that is no UTF-8", ODD, "d"),
    nameless("message id with a line", b"a\r\nb", "e"),
    nameless("message id with NUL", b"a\x00b", "f"),
    nameless("message id of 255 odd bytes", 255 * b"\xff", "g"),
    hostile(
        "message id of 255 letters",
        NoLetter.PAID,
        told=255 * "m",
        message_id=short(255 * b"m"),
    ),
    hostile(
        "message id that looks like a path",
        NoLetter.PAID,
        told="../../%00'\"<>",
        message_id=short(b"../../%00'\"<>"),
    ),
    hostile(
        "an id that was used",
        REUSED,
        a_body(amount="9.99"),
        told=None,
        message_id=short(PAID_BEFORE.encode()),
    ),
    hostile(
        "an id that was used, and invalid",
        REUSED,
        a_body(amount="-9.99"),
        told=None,
        message_id=short(PAID_BEFORE.encode()),
    ),
    hostile("correlation of 255 letters", NoLetter.PAID, correlation_id=short(255 * b"c")),
    hostile("correlation in odd bytes", INVALID, correlation_id=short(ODD)),
    hostile("correlation with NUL", INVALID, correlation_id=short(b"a\x00")),
    hostile("correlation of blanks", INVALID, correlation_id=short(b"  ")),
    *(
        hostile(f"reply to {queue}", INVALID, reply_to=short(queue.encode()))
        for queue in ("withdrawals.requests", "withdrawals.dead-letters")
    ),
    hostile("reply to in odd bytes", INVALID, reply_to=short(ODD)),
    *(
        hostile(f"reply to {queue}", NoLetter.PAID, reply_to=short(queue.encode()))
        for queue in (
            "amq.direct",
            "withdrawals.events",
            "no-such-queue",
            "amq.rabbitmq.reply-to.g2dkABByZXBseUB4",
            "#",
            255 * "q",
        )
    ),
    hostile("timestamp 0", NoLetter.PAID, timestamp=moment(0)),
    hostile("timestamp in milliseconds", NoLetter.PAID, timestamp=moment(1_795_224_390_000)),
    hostile("timestamp 2^63", NoLetter.PAID, timestamp=moment(2**63)),
    hostile("timestamp 2^64-1", NoLetter.PAID, timestamp=moment(2**64 - 1)),
    hostile("expires in years", INVALID, a_body(amount="-1"), expiration=short(b"315360000000")),
    hostile("highest priority", NoLetter.PAID, priority=b"\xff"),
    hostile("transient", NoLetter.PAID, delivery_mode=b"\1"),
    hostile("type and app in odd bytes", NoLetter.PAID, type=short(ODD), app_id=short(ODD)),
)

HEADERS: Final = (
    headed("no header at all"),
    headed("header in odd bytes", (ODD, text(ODD))),
    headed("header without a name", (b"", text(b"v"))),
    headed("header's name of 255 bytes", (255 * b"n", text(b"v"))),
    headed("3,000 headers", *((f"h{n}".encode(), text(b"v")) for n in range(3_000))),
    headed("the same header twice", (b"k", text(b"1")), (b"k", text(b"2"))),
    headed("a text of 100 KiB", (b"k", text(100 * 1024 * b"v"))),
    headed("a list of 20,000", (b"k", b"A" + long(20_000 * b"V"))),
    headed("100 tables deep", (b"k", nested(100))),
    headed("thousands of tables deep", (b"k", nested(DEEPEST))),
    headed("times beyond the calendar", (b"k", b"T" + moment(2**64 - 1))),
    headed("a number near none", (b"k", b"d" + struct.pack(">d", 5e-324))),
    headed("a decimal of 255 places", (b"k", b"D\xff" + struct.pack(">i", -1))),
    headed("garbage for a trace", (b"traceparent", text(b"00-zz-\x00-01"))),
    headed("a trace that is a table", (b"traceparent", nested(2))),
    headed("a forged count of deliveries", (b"x-delivery-count", b"l" + moment(10**9))),
    headed("a forged death", (b"x-death", b"A" + long(nested(1))), (b"x-reason", text(b"forged"))),
    hostile(
        "a forged reason",
        INVALID,
        a_body(amount="0"),
        headers=pairs((b"x-reason", text(b"forged")), (b"x-origin-queue", text(b"forged"))),
    ),
)

#: What the broker itself refuses, by dropping whoever sends it.
REFUSED_BY_BROKER: Final = (
    headed("not a number", (b"k", b"d" + struct.pack(">d", float("nan")))),
    headed("infinity", (b"k", b"f" + struct.pack(">f", float("inf")))),
    hostile("a lifetime that is no number", NoLetter.PAID, expiration=short(b"soon")),
    hostile("another's name", NoLetter.PAID, user_id=short(b"somebody")),
)

#: RabbitMQ 3.10 refuses it in the same way; 4.0 takes it.
REFUSED_BY_OLD_BROKER: Final = hostile("delivery mode 255", NoLetter.PAID, delivery_mode=b"\xff")

MESSAGES: Final = (*BODIES, *FIELDS, *CLOUD_EVENTS, *PROPERTIES, *HEADERS)
