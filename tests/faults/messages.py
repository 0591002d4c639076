"""The messages of a run: good ones, repeated ones, and those that are made to break a worker.

Pure: bytes and what has to become of them. Nothing is sent here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from random import Random

#: Stands in a body for the moment that `not_after` seconds after the start of the run are.
NOT_AFTER: Final = b"@not_after@"

_PAID: Final = frozenset({"completed"})
_REJECTED: Final = frozenset({"rejected"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, `at` so many seconds after the start of the run.

    `ends` are the terminal words that its request may end with (none: it must not end by itself),
    `letter` the reason under which it has to lie among the dead letters. `may_stay_open` says that
    the request may be left to a person (`unresolved`), for the reason that its maker gives.
    """

    at: float
    message_id: str | None
    body: bytes = field(repr=False)
    ends: frozenset[str]
    what: str
    letter: str | None = None
    not_after: float | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    may_stay_open: bool = False

    def rendered(self, began: datetime) -> bytes:
        """Return the body as it is sent: always the same bytes within one run."""
        if self.not_after is None:
            return self.body
        moment = (began.astimezone(UTC) + timedelta(seconds=self.not_after)).replace(tzinfo=None)
        return self.body.replace(NOT_AFTER, f"{moment.isoformat('T', 'milliseconds')}Z".encode())


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


#: Investors and funding sources of the simulator with a meaning of their own (its `--help`), by
#: what becomes of their requests. The list of an unknown investor is refused as well, so that an
#: unclear attempt for one can be told by nobody once the key is forgotten.
_SPECIAL: Final[Mapping[str, tuple[Mapping[str, str], frozenset[str], bool]]] = {
    "fails at the bank": ({"investor_id": "inv_failing_1"}, frozenset({"failed"}), False),
    "too poor": ({"investor_id": "inv_poor_1"}, _REJECTED, False),
    "not approved": ({"investor_id": "inv_blocked_1"}, _REJECTED, False),
    "unknown investor": ({"investor_id": "inv_unknown_1"}, _REJECTED, True),
    "inactive source": ({"funding_source_id": "fs_inactive_1"}, _REJECTED, False),
}

_DEEP: Final = b'{"a":' * 2000 + b"1" + b"}" * 2000
_GOOD: Final = (
    '"investor_id":"inv_1","currency":"USD","method":"ach","funding_source_id":"fs_secret_1"'
)

#: Bodies that nobody can carry out, and the reason under which each has to be buried.
BAD_BODIES: Final[Mapping[str, tuple[bytes, str]]] = {
    "empty": (b"", "malformed"),
    "not JSON": (b"\x00\xff\xfe not JSON", "malformed"),
    "half of a JSON": (b'{"amount":"5.00","curr', "malformed"),
    "a list": (b'[{"amount":"5.00"}]', "malformed"),
    "a number": (b"500", "malformed"),
    "two thousand levels": (_DEEP, "malformed"),
    "seventeen levels": (b'{"metadata":' + b'{"a":' * 17 + b"1" + b"}" * 18, "malformed"),
    "one field twice": (f'{{{_GOOD},"amount":"5.00","amount":"500.00"}}'.encode(), "malformed"),
    "not a number": (f'{{{_GOOD},"amount":NaN}}'.encode(), "malformed"),
    "ten thousand digits": (f'{{{_GOOD},"amount":{"9" * 10_000}}}'.encode(), "malformed"),
    "UTF-16": ('{"amount":"5.00"}'.encode("utf-16"), "malformed"),
    "a float": (f'{{{_GOOD},"amount":5.0}}'.encode(), "invalid"),
    "a negative amount": (f'{{{_GOOD},"amount":"-5.00"}}'.encode(), "invalid"),
    "a third decimal": (f'{{{_GOOD},"amount":"5.001"}}'.encode(), "invalid"),
    "an infinite amount": (f'{{{_GOOD},"amount":"1e999"}}'.encode(), "invalid"),
    "an unknown field": (f'{{{_GOOD},"amount":"5.00","priority":1}}'.encode(), "invalid"),
    "a path for an id": (
        _json(
            {
                "investor_id": "../../etc",
                "amount": "5.00",
                "currency": "USD",
                "method": "ach",
                "funding_source_id": "fs_1",
            }
        ),
        "invalid",
    ),
    "a NUL in a text": (f'{{{_GOOD},"amount":"5.00","description":"\\u0000"}}'.encode(), "invalid"),
    "half a surrogate": (
        f'{{{_GOOD},"amount":"5.00","description":"\\ud800"}}'.encode(),
        "invalid",
    ),
    "no such provider": (
        f'{{"provider":"acme",{_GOOD},"amount":"5.00"}}'.encode(),
        "unknown_provider",
    ),
    "too large": (
        f'{{{_GOOD},"amount":"5.00","description":"{"x" * 70_000}"}}'.encode(),
        "too_large",
    ),
}


def a_request(random: Random, *, at: float, message_id: str) -> Message:
    """Return a request that has to be paid out."""
    document = _document(random)
    return Message(at=at, message_id=message_id, body=_json(document), ends=_PAID, what="valid")


def a_special_request(random: Random, *, at: float, message_id: str) -> Message:
    """Return a valid request that the provider does not pay out."""
    what = random.choice(sorted(_SPECIAL))
    changes, ends, may_stay_open = _SPECIAL[what]
    body = _json(_document(random) | dict(changes))
    return Message(
        at=at,
        message_id=message_id,
        body=body,
        ends=ends,
        what=what,
        may_stay_open=may_stay_open,
    )


def a_limited_request(random: Random, *, at: float, message_id: str) -> Message:
    """Return a request that must not be submitted late: paid out or rejected, nothing between."""
    body = _json(_document(random) | {"not_after": NOT_AFTER.decode()})
    return Message(
        at=at,
        message_id=message_id,
        body=body,
        ends=_PAID | _REJECTED,
        what="with not_after",
        not_after=at + random.choice([-1.0, 0.5, 2.0, 6.0, 600.0]),
    )


def a_bad_message(random: Random, *, at: float, message_id: str) -> Message:
    """Return a message that has to be buried; with an id its request is rejected as well."""
    what = random.choice(sorted(BAD_BODIES))
    body, reason = BAD_BODIES[what]
    name = message_id if random.random() < 0.7 else None
    content_type = content_encoding = None
    match random.random():
        case drawn if drawn < 0.1:
            what, reason = "XML by its word", "unsupported_type"
            body, content_type = _json(_document(random)), "application/xml"
        case drawn if drawn < 0.2:
            what, reason = "packed by its word", "unsupported_type"
            body, content_encoding = _json(_document(random)), "gzip"
        case _:
            pass
    if name is None and reason in _WITHOUT_ID:
        reason = _WITHOUT_ID[reason]
    return Message(
        at=at,
        message_id=name,
        body=body,
        ends=frozenset() if name is None else _REJECTED,
        what=what,
        letter=reason,
        content_type=content_type,
        content_encoding=content_encoding,
    )


def another_content(random: Random, original: Message, *, at: float) -> Message:
    """Return a valid request under an id that another one has: one of the two has to be buried."""
    body = _json(_document(random))
    return Message(
        at=at,
        message_id=original.message_id,
        body=body,
        ends=_PAID,
        what="an id used twice",
        letter="message_id_reused",
    )


#: A body that can be read is asked for its id before its content.
_WITHOUT_ID: Final = {
    "invalid": "missing_message_id",
    "unknown_provider": "missing_message_id",
}


def _document(random: Random) -> dict[str, object]:
    return {
        "investor_id": f"inv_{random.randrange(7)}",
        "amount": f"{random.randrange(1, 500)}.{random.randrange(100):02}",
        "currency": "USD",
        "method": random.choice(["ach", "wire"]),
        "funding_source_id": f"fs_secret_{random.randrange(3)}",
    }
