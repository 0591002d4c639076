"""The messages of a run: good ones, repeated ones, and those that are made to break a worker.

Pure: bytes and what has to become of them. Nothing is sent here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from random import Random
from typing import TYPE_CHECKING, Final

from tests.faults.logs import PRIVATE
from tests.faults.tongues import PAID, REJECTED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tests.faults.tongues import Document, Tongue

#: Stand in a body for the moments that `not_after` and `wait_until` seconds after the start are.
NOT_AFTER: Final = b"@not_after@"
WAIT_UNTIL: Final = b"@wait_until@"
#: A request that nobody makes: its cancellation has to be answered all the same.
NOBODYS: Final = "nobodys"


@dataclass(frozen=True, slots=True)
class Cash:
    """Money that comes in, `at` so many seconds after the start of the run."""

    at: float
    party: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, `at` so many seconds after the start of the run.

    `ends` are the terminal words that its request may end with (none: it must not end by itself),
    `letter` the reason under which it has to lie among the dead letters. `may_stay_open` says that
    the request may be left to a person (`unresolved`), for the reason that its maker gives. A
    message that `cancels` a request, named by its message id, goes to another queue and has to be
    answered; it has no end of its own. `cash` comes in for somebody. `like` names a request that
    asks for the same.
    """

    at: float
    message_id: str | None
    body: bytes = field(repr=False)
    ends: frozenset[str]
    what: str
    letter: str | None = None
    not_after: float | None = None
    wait_until: float | None = None
    cancels: str | None = None
    cash: Cash | None = None
    like: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    may_stay_open: bool = False

    def rendered(self, began: datetime) -> bytes:
        """Return the body as it is sent: always the same bytes within one run."""
        body = self.body
        for mark, seconds in ((NOT_AFTER, self.not_after), (WAIT_UNTIL, self.wait_until)):
            if seconds is not None:
                moment = (began.astimezone(UTC) + timedelta(seconds=seconds)).replace(tzinfo=None)
                body = body.replace(mark, f"{moment.isoformat('T', 'milliseconds')}Z".encode())
        return body


_DEEP: Final = b'{"a":' * 2000 + b"1" + b"}" * 2000


#: Bodies of which nobody can tell what they want.
_UNREADABLE: Final[dict[str, tuple[bytes, str]]] = {
    "empty": (b"", "malformed"),
    "not JSON": (b"\x00\xff\xfe not JSON", "malformed"),
    "half of a JSON": (b'{"amount":"5.00","curr', "malformed"),
    "a list": (b'[{"amount":"5.00"}]', "malformed"),
    "a number": (b"500", "malformed"),
    "two thousand levels": (_DEEP, "malformed"),
    "seventeen levels": (b'{"metadata":' + b'{"a":' * 17 + b"1" + b"}" * 18, "malformed"),
    "UTF-16": ('{"amount":"5.00"}'.encode("utf-16"), "malformed"),
}


def bad_bodies(tongue: Tongue) -> dict[str, tuple[bytes, str]]:
    """Return bodies that nobody can carry out, and the reason under which each is to be buried.

    Those outside of a provider's own rules begin like a good request of some party.
    """
    good = _good(tongue)
    without_amount = _json({name: good[name] for name in good if name != "amount"})[1:-1].decode()
    return (
        _UNREADABLE
        | {
            name: (f"{{{without_amount},{rest}}}".encode(), reason)
            for name, (rest, reason) in {
                "one field twice": ('"amount":"5.00","amount":"500.00"', "malformed"),
                "not a number": ('"amount":NaN', "malformed"),
                "ten thousand digits": (f'"amount":{"9" * 10_000}', "malformed"),
                "a float": ('"amount":5.0', "invalid"),
                "a negative amount": ('"amount":"-5.00"', "invalid"),
                "a third decimal": ('"amount":"5.001"', "invalid"),
                "an infinite amount": ('"amount":"1e999"', "invalid"),
                "an unknown field": ('"amount":"5.00","priority":1', "invalid"),
                "a NUL in a text": (f'"amount":"5.00","{tongue.text}":"\\u0000"', "invalid"),
                "half a surrogate": (f'"amount":"5.00","{tongue.text}":"\\ud800"', "invalid"),
                "too large": (f'"amount":"5.00","{tongue.text}":"{"x" * 70_000}"', "too_large"),
            }.items()
        }
        | {
            "no such provider": (_json(good | {"provider": "acme"}), "unknown_provider"),
            "a path for an id": (_json(good | {tongue.party: "../../etc"}), "invalid"),
            **{name: (_json(good | changes), "invalid") for name, changes in tongue.wrong.items()},
        }
    )


def a_request(tongue: Tongue, random: Random, *, at: float, message_id: str) -> Message:
    """Return a request that has to be paid out."""
    body = _json(_document(tongue, random))
    return Message(at=at, message_id=message_id, body=body, ends=PAID, what="valid")


def an_alike_request(original: Message, *, at: float, message_id: str) -> Message:
    """Return a request for the same money once more, under an id of its own: both are to be paid.

    Where nothing tells the two apart at the provider, one of which nobody knows whether it was
    executed may be left to a person.
    """
    return Message(
        at=at,
        message_id=message_id,
        body=original.body,
        ends=PAID,
        what=f"like {original.message_id}",
        like=original.message_id,
    )


def a_special_request(tongue: Tongue, random: Random, *, at: float, message_id: str) -> Message:
    """Return a valid request of somebody with a meaning of their own."""
    what = random.choice(sorted(tongue.special))
    special = tongue.special[what]
    return Message(
        at=at,
        message_id=message_id,
        body=_json(_document(tongue, random) | special.changes),
        ends=special.ends,
        what=what,
        may_stay_open=special.may_stay_open,
    )


def a_limited_request(tongue: Tongue, random: Random, *, at: float, message_id: str) -> Message:
    """Return a request that must not be submitted late: paid out or rejected, nothing between."""
    body = _json(_document(tongue, random) | {"not_after": NOT_AFTER.decode()})
    return Message(
        at=at,
        message_id=message_id,
        body=body,
        ends=PAID | REJECTED,
        what="with not_after",
        not_after=at + random.choice([-1.0, 0.5, 2.0, 6.0, 600.0]),
    )


def a_sale(tongue: Tongue, random: Random, *, at: float, message_id: str) -> Message:
    """Return a request of somebody who has nothing but shares: paid out once all are sold."""
    if tongue.poor is None or tongue.orders is None:
        return a_request(tongue, random, at=at, message_id=message_id)
    orders = tongue.orders(random, message_id)
    changes = tongue.poor(message_id) | {"amount": f"{orders.amount}.00", "sell": orders.documents}
    return Message(
        at=at,
        message_id=message_id,
        body=_json(_document(tongue, random) | changes),
        ends=PAID if orders.are_sold else REJECTED,
        what="with a sale" if orders.are_sold else "with a sale in vain",
    )


def a_patient_request(tongue: Tongue, random: Random, *, at: float, message_id: str) -> Message:
    """Return a request that waits for its funds: they come, or its time is over before."""
    if tongue.poor is None:
        return a_request(tongue, random, at=at, message_id=message_id)
    poor = tongue.poor(message_id)
    document = _document(tongue, random) | poor
    document["wait_for_funds_until"] = WAIT_UNTIL.decode()
    is_short = random.random() < 0.4
    cash = Cash(at + random.uniform(0.3, 4.0), str(poor[tongue.party]), str(document["amount"]))
    return Message(
        at=at,
        message_id=message_id,
        body=_json(document),
        ends=REJECTED if is_short else PAID,
        what="waiting for funds in vain" if is_short else "waiting for funds",
        wait_until=at + (random.choice([-1.0, 2.0, 4.0]) if is_short else 600.0),
        cash=None if is_short else cash,
    )


def a_cancellation(*, at: float, message_id: str, of: str) -> Message:
    """Return a message that cancels a request."""
    return Message(
        at=at,
        message_id=message_id,
        body=_json({"request_message_id": of}),
        ends=frozenset(),
        what=f"cancels {of}",
        cancels=of,
    )


def a_bad_message(tongue: Tongue, random: Random, *, at: float, message_id: str) -> Message:
    """Return a message that has to be buried; with an id its request is rejected as well."""
    bodies = bad_bodies(tongue)
    what = random.choice(sorted(bodies))
    body, reason = bodies[what]
    name = message_id if random.random() < 0.7 else None
    content_type = content_encoding = None
    match random.random():
        case drawn if drawn < 0.1:
            what, reason = "XML by its word", "unsupported_type"
            body, content_type = _json(_good(tongue)), "application/xml"
        case drawn if drawn < 0.2:
            what, reason = "packed by its word", "unsupported_type"
            body, content_encoding = _json(_good(tongue)), "gzip"
        case _:
            pass
    if name is None and reason in WITHOUT_ID:
        reason = WITHOUT_ID[reason]
    return Message(
        at=at,
        message_id=name,
        body=body,
        ends=frozenset() if name is None else REJECTED,
        what=what,
        letter=reason,
        content_type=content_type,
        content_encoding=content_encoding,
    )


def another_content(tongue: Tongue, random: Random, original: Message, *, at: float) -> Message:
    """Return a valid request under an id that another one has: one of the two has to be buried."""
    return Message(
        at=at,
        message_id=original.message_id,
        body=_json(_document(tongue, random)),
        ends=PAID,
        what="an id used twice",
        letter="message_id_reused",
    )


#: A body that can be read is asked for its id before its content.
WITHOUT_ID: Final = {
    "invalid": "missing_message_id",
    "unknown_provider": "missing_message_id",
}


def _document(tongue: Tongue, random: Random) -> Document:
    """Draw a good request; its provider may be left out, since it is the worker's default.

    It holds what must be in no log.
    """
    named: Document = {"provider": tongue.provider} if random.random() < 0.5 else {}
    private: Document = {"metadata": {"note": PRIVATE}}
    if tongue.has_references:
        # Where a lost withdrawal is told by its text, one alike for all changes nothing.
        private[tongue.text] = PRIVATE
    return named | private | tongue.document(random)


def _good(tongue: Tongue) -> Document:
    return tongue.document(Random(tongue.provider))  # noqa: S311 - no secret


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
