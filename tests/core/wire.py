"""Messages for the tests of their reading: a good one, and what a test changes about it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from worker.core.messages import Envelope, Misread, Understood, read
from worker.providers.bluum import BluumRequest

GOOD: Final[dict[str, Any]] = {
    "provider": "bluum",
    "investor_id": "inv_01",
    "amount": "500.00",
    "currency": "USD",
    "method": "ach",
    "funding_source_id": "fs_01",
}
STRUCTURED: Final = "application/cloudevents+json"
OWN_QUEUES: Final = frozenset({"withdrawals.requests", "withdrawals.cancellations"})


def a_body(**fields: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A good body with some fields changed; a field that is changed to ... is left out."""
    document = {name: value for name, value in (GOOD | fields).items() if value is not ...}
    return json.dumps(document).encode()


def a_message(body: bytes | None = None, **changes: Any) -> Envelope:  # noqa: ANN401
    """A good message with some properties changed."""
    plain = Envelope(
        body=a_body() if body is None else body,
        message_id="req-1",
        content_type="application/json",
    )
    return replace(plain, **changes)


def understand(envelope: Envelope) -> Understood | Misread:
    """Read a message as a worker does that has Bluum enabled."""
    return read(
        envelope,
        shapes={"bluum": BluumRequest},
        default_provider="bluum",
        own_queues=OWN_QUEUES,
    )


def understood(envelope: Envelope) -> Understood:
    """Read a message that must be understood."""
    message = understand(envelope)
    assert isinstance(message, Understood), message
    return message


def misread(envelope: Envelope) -> Misread:
    """Read a message that must not be understood."""
    message = understand(envelope)
    assert isinstance(message, Misread), message
    return message
