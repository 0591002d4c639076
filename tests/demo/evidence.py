"""Evidence of runs for the audit's tests: a run in which all went well, and ways to spoil it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from worker.demo.audit import Buried, Executed, Finding, Heard, Seen, Sent, audit

PAID_WAY = ("received", "pending", "processing", "completed")


def key_of(message_id: str) -> str:
    """The key of a request, in a form that can be read."""
    return f"key-of-{message_id}"


def event(message_id: str, sequence: int, status: str, **changes: Any) -> Heard:  # noqa: ANN401 - any field
    """An event as it has to be: its id and content follow from request and sequence."""
    plain = Heard(
        event_id=f"{message_id}/{sequence}",
        message_id=message_id,
        sequence=sequence,
        status=status,
        withdrawal_id=None if status in {"received", "rejected"} else f"wd-{message_id}",
        reversal=False,
        content=f"{message_id} is {status}",
    )
    return replace(plain, **changes)


def events(message_id: str, *statuses: str) -> tuple[Heard, ...]:
    """The events of one request in order."""
    return tuple(
        event(message_id, sequence, status) for sequence, status in enumerate(statuses, start=1)
    )


def paid(message_id: str = "a") -> Seen:
    """A request that was paid out, once."""
    return Seen(
        sent=(Sent(message_id, "body"),),
        executed=(Executed(key_of(message_id), f"wd-{message_id}"),),
        heard=events(message_id, *PAID_WAY),
    )


def refused(message_id: str = "b") -> Seen:
    """A request that the provider refused."""
    return Seen(sent=(Sent(message_id, "body"),), heard=events(message_id, "received", "rejected"))


def invalid(message_id: str = "c") -> Seen:
    """A request that is not valid: rejected, and a dead letter as well."""
    return Seen(
        sent=(Sent(message_id, "body"),),
        heard=events(message_id, "rejected"),
        buried=(Buried(message_id, "body", "invalid"),),
    )


def nameless() -> Seen:
    """A message without an id."""
    return Seen(sent=(Sent(None, "body"),), buried=(Buried(None, "body", "missing_message_id"),))


def reused(message_id: str = "d") -> Seen:
    """Two contents under one id: the first is paid out, the other a dead letter."""
    other = Seen(
        sent=(Sent(message_id, "other"),),
        buried=(Buried(message_id, "other", "message_id_reused"),),
    )
    return together(paid(message_id), other)


def together(*parts: Seen) -> Seen:
    """Several pieces of evidence as one."""
    return Seen(
        sent=tuple(item for part in parts for item in part.sent),
        executed=tuple(item for part in parts for item in part.executed),
        heard=tuple(item for part in parts for item in part.heard),
        buried=tuple(item for part in parts for item in part.buried),
        cancels=tuple(item for part in parts for item in part.cancels),
        effects=tuple(item for part in parts for item in part.effects),
        deliveries=tuple(item for part in parts for item in part.deliveries),
        forged=tuple(item for part in parts for item in part.forged),
    )


def found(seen: Seen) -> list[Finding]:
    """What the audit finds."""
    return list(audit(seen, key_of=key_of))
