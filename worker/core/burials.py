"""What the books have to know of a message that goes to the dead letters.

Pure. Who counts it, and when, stands in the ledger; how it travels, in the broker's room."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.core.messages import DeadReason, Envelope, Understood, read
from worker.core.requests import is_printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from worker.core.requests import Request

#: For a look at what a message without an id asks for; it is written down nowhere.
_SOME_ID = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Burial:
    """A message that is about to become a dead letter.

    `identity` tells it from others (see `identity`). `message_id` and `fingerprint` are those under
    which the ledger would know it as a request; the fingerprint is None where nobody read the body.
    Provider, amount and currency are known only where that is a valid request: no guess enters the
    books. `redelivered` is the broker's flag.
    """

    identity: bytes
    reason: DeadReason
    message_id: str | None
    fingerprint: bytes | None = field(repr=False)
    provider: str | None = None
    amount: Decimal | None = field(default=None, repr=False)
    currency: str | None = None
    redelivered: bool = False


def identity(message_id: str | None, body: bytes) -> bytes:
    """Return what tells a message from others, from its AMQP message id and its exact body.

    It is the same when the message comes again. A dead letter keeps both as they were, so whoever
    reads it from its queue finds the same.
    """
    name = b"" if message_id is None else message_id.encode(errors="surrogatepass")
    return hashlib.sha256(b"%d:%b%b" % (len(name), name, body)).digest()


def burial(
    envelope: Envelope,
    reason: DeadReason,
    *,
    shapes: Mapping[str, type[Request]],
    default_provider: str,
) -> Burial:
    """Write down what a message is, as far as it can be read. Never raises.

    A poisonous one is not read: what ended one worker by being read would end this one too.
    """
    found = Burial(
        identity=identity(envelope.message_id, envelope.body),
        reason=reason,
        message_id=_printable(envelope.message_id),
        fingerprint=None,
        redelivered=envelope.redelivered,
    )
    if reason is DeadReason.POISON:
        return found
    message = read(envelope, shapes=shapes, default_provider=default_provider)
    found = replace(found, message_id=message.context.message_id, fingerprint=message.fingerprint)
    if message.context.message_id is None:
        # The id alone may be what is missing: what it asks for can be read all the same.
        named = replace(envelope, message_id=_SOME_ID)
        message = read(named, shapes=shapes, default_provider=default_provider)
    if not isinstance(message, Understood):
        return found
    request = message.request
    return replace(
        found, provider=message.provider, amount=request.amount, currency=request.currency
    )


def _printable(message_id: str | None) -> str | None:
    return message_id if message_id and is_printable(message_id) else None
