"""What the books learn of a dead letter: only what can be read for certain."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pytest

from tests.core.wire import STRUCTURED, a_body, a_message, understand
from worker.core.burials import Burial, burial, identity
from worker.core.messages import DeadReason
from worker.providers.bluum import BluumRequest

if TYPE_CHECKING:
    from worker.core.messages import Envelope

_MONEY: Final = ("bluum", Decimal("500.00"), "USD")
_NOTHING: Final = (None, None, None)


def _burial(envelope: Envelope, reason: DeadReason = DeadReason.MESSAGE_ID_REUSED) -> Burial:
    return burial(envelope, reason, shapes={"bluum": BluumRequest}, default_provider="bluum")


def _money(found: Burial) -> tuple[str | None, Decimal | None, str | None]:
    return found.provider, found.amount, found.currency


def test_the_money_of_a_valid_request_is_known() -> None:
    """
    One under an id that was used before says what it asks for.
    """
    assert _MONEY == _money(_burial(a_message()))


def test_the_money_is_known_without_a_message_id() -> None:
    """
    That nobody may be paid under no name does not make the amount unreadable.
    """
    found = _burial(a_message(message_id=None))

    assert found.message_id is None
    assert _MONEY == _money(found)


@pytest.mark.parametrize("message_id", ["req-1", None])
@pytest.mark.parametrize(
    "body",
    [b"?", b"", b"\xff", a_body(amount=5), a_body(provider="nobody"), a_body(surplus=1)],
    ids=["no JSON", "empty", "no UTF-8", "a number", "unknown provider", "unknown field"],
)
def test_what_is_no_valid_request_has_no_money(body: bytes, message_id: str | None) -> None:
    """
    An amount in a message that nobody understands is not guessed.
    """
    assert _NOTHING == _money(_burial(a_message(body, message_id=message_id)))


@pytest.mark.parametrize(
    "envelope",
    [a_message(), a_message(b"?"), a_message(a_body(amount=5)), a_message(message_id=None)],
    ids=["valid", "no JSON", "invalid", "nameless"],
)
def test_it_is_known_by_what_the_ledger_would_know_it(envelope: Envelope) -> None:
    """
    Message id and fingerprint are those of the reading that takes requests in.
    """
    message, found = understand(envelope), _burial(envelope)

    assert (message.context.message_id, message.fingerprint) == (
        found.message_id,
        found.fingerprint,
    )


def test_the_id_of_a_cloud_event_serves_too() -> None:
    """
    As it does when the message is taken in.
    """
    body = b'{"specversion": "1.0", "id": "ce-1", "data": ' + a_body() + b"}"
    found = _burial(a_message(body, message_id=None, content_type=STRUCTURED))

    assert "ce-1" == found.message_id
    assert _MONEY == _money(found)


@pytest.mark.parametrize("redelivered", [True, False])
def test_the_brokers_flag_and_the_reason_are_kept(redelivered: bool) -> None:
    """
    As they are given.
    """
    found = _burial(a_message(redelivered=redelivered))

    assert (redelivered, DeadReason.MESSAGE_ID_REUSED) == (found.redelivered, found.reason)


class Deadly(bytes):
    """A body that nobody survives who reads it."""

    __slots__ = ()

    def decode(self, *_: object, **__: object) -> str:
        """End the reader."""
        raise SystemExit


def test_poison_is_not_read() -> None:
    """
    What ended one worker by being read would end this one too: its id is all that is known.
    """
    envelope = a_message(Deadly(a_body()))
    found = _burial(envelope, DeadReason.POISON)

    assert ("req-1", None) == (found.message_id, found.fingerprint)
    assert _NOTHING == _money(found)
    with pytest.raises(SystemExit):
        _burial(envelope)


@pytest.mark.parametrize("message_id", [None, "", "a\0b", "a\ud800"])
def test_a_name_that_cannot_be_stored_is_none(message_id: str | None) -> None:
    """
    A poisonous message is counted under its identity alone then.
    """
    found = _burial(a_message(message_id=message_id), DeadReason.POISON)

    assert found.message_id is None


def test_an_identity_tells_messages_apart() -> None:
    """
    By id and by body, wherever the one ends and the other begins.
    """
    different = [
        identity(None, b""),
        identity("", b"a"),
        identity("a", b""),
        identity("a", b"b"),
        identity("ab", b""),
        identity("a", b"c"),
        identity("\ud800", b""),
    ]

    assert len(different) == len(set(different))
    assert identity("a", b"b") == _burial(a_message(b"b", message_id="a")).identity


def test_neither_body_nor_amount_is_shown() -> None:
    """
    What a burial shows of itself may stand in a log.
    """
    shown = repr(_burial(a_message()))

    assert "500" not in shown
    assert "fs_01" not in shown
