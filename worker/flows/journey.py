"""Whose work a task is doing: ids for every line of its log, and spans where traces are wanted.

What several flows and adapters tell of it, and the way without traces, which costs next to nothing.
What a span holds and how it leaves the process is not known here."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from worker.core import messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from contextvars import Token

    from worker.core.messages import Envelope
    from worker.core.withdrawal import Withdrawal
    from worker.flows.ports import Outgoing
    from worker.flows.settlement import Settlement

_Value = TypeVar("_Value")

#: Where in a traceparent the id of the trace stands.
_TRACE_ID: Final = slice(3, 35)

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_ids: ContextVar[Mapping[str, str]] = ContextVar("ids", default=_NONE)


class Handling(Protocol):
    """One message in work. `envelope` is to be worked on: it carries a trace if one began here."""

    envelope: Envelope

    def settled(self, settlement: Settlement) -> None:
        """Tell what became of the message in the end."""
        ...


class Call(Protocol):
    """One call to a provider."""

    def answered(self, status: int, request_id: str | None) -> None:
        """Tell the status of the answer, and by which id the provider's support finds the call."""
        ...

    def silent(self, why: str) -> None:
        """Tell that no usable answer came; `why` is one constant word."""
        ...


class Delivery(Protocol):
    """One genuine webhook delivery. `wants_traces` tells whether anybody asks whom it woke."""

    wants_traces: bool

    def heard(self, outcome: str, traceparents: Sequence[str]) -> None:
        """Tell what became of it, and which requests' traces it woke."""
        ...


class Journeys(Protocol):
    """Is told where work on a withdrawal begins and ends; each of these is a context.

    Ledger, provider and publication belong to whatever message or step they happen in.
    """

    def message(self, queue: str, envelope: Envelope) -> AbstractContextManager[Handling]:
        """Carry out one message of a queue."""
        ...

    def step(self, withdrawal: Withdrawal, step: str) -> AbstractContextManager[None]:
        """Take one step of a withdrawal, perhaps days after its message."""
        ...

    def steps(self, withdrawals: Sequence[Withdrawal], step: str) -> AbstractContextManager[None]:
        """Do at once what several withdrawals have in common; their own steps lie inside.

        Lines of the log carry none of their ids meanwhile.
        """
        ...

    def commit(self, database: str, what: str) -> AbstractContextManager[None]:
        """Wait until the ledger has committed something."""
        ...

    def call(
        self, provider: str, operation: str, method: str, host: str
    ) -> AbstractContextManager[Call]:
        """Exchange one request with a provider."""
        ...

    def publication(
        self, event: Outgoing, exchange: str, key: str
    ) -> AbstractContextManager[str | None]:
        """Publish an event; within, the traceparent that it is to carry is known."""
        ...

    def delivery(self, provider: str) -> AbstractContextManager[Delivery]:
        """Hear one webhook delivery of a provider, after it was found genuine."""
        ...


class within:  # noqa: N801 - reads as the context that it is
    """A context in which every line of the log carries these ids besides those around it."""

    __slots__ = ("_added", "_token")

    def __init__(self, added: Mapping[str, str]) -> None:
        self._added = added
        self._token: Token[Mapping[str, str]]

    def __enter__(self) -> None:
        """Add the ids."""
        around = _ids.get()
        self._token = _ids.set({**around, **self._added} if around else self._added)

    def __exit__(self, *_: object) -> None:
        """Take them away."""
        _ids.reset(self._token)


@contextmanager
def apart() -> Iterator[None]:
    """Make a context for what is nobody's alone: its lines carry none of the ids around it."""
    token = _ids.set(_NONE)
    try:
        yield
    finally:
        _ids.reset(token)


def ids() -> Mapping[str, str]:
    """Return the ids of whatever the current task is working on."""
    return _ids.get()


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the id of a trace from the header that carries it on."""
    return None if traceparent is None else traceparent[_TRACE_ID]


def known(fields: Mapping[str, _Value | None]) -> dict[str, _Value]:
    """Return the fields that have a value; a line or a span has no others."""
    return {name: value for name, value in fields.items() if value is not None}


def ids_of(withdrawal: Withdrawal) -> dict[str, str]:
    """Return all by which a withdrawal is found again, here and at the provider."""
    order = withdrawal.order
    found = {
        "message_id": order.message_id,
        "provider": order.provider,
        "withdrawal_id": withdrawal.withdrawal_id,
        "idempotency_key": order.idempotency_key,
        "trace_id": trace_id_of(order.traceparent),
    }
    return known(found)


def ids_of_message(envelope: Envelope, traceparent: str | None) -> dict[str, str]:
    """Return what is known of a message before it is read."""
    found = {"message_id": envelope.message_id, "trace_id": trace_id_of(traceparent)}
    return known(found)


class Untraced:
    """No traces: nothing but the ids of whoever works are remembered, for the log."""

    def message(self, _queue: str, envelope: Envelope) -> _Message:
        """Remember whose message it is."""
        return _Message(envelope)

    def step(self, withdrawal: Withdrawal, _step: str) -> within:
        """Remember whose step it is."""
        return within(ids_of(withdrawal))

    def steps(self, _withdrawals: Sequence[Withdrawal], _step: str) -> _Nothing:
        """Remember nothing: it is nobody's alone."""
        return _NOTHING

    def commit(self, _database: str, _what: str) -> _Nothing:
        """Remember nothing more."""
        return _NOTHING

    def call(self, _provider: str, _operation: str, _method: str, _host: str) -> _NoCall:
        """Remember nothing more."""
        return _NO_CALL

    def publication(self, event: Outgoing, _exchange: str, _key: str) -> _Publication:
        """Carry on the trace of the request as it came."""
        return _Publication(event)

    def delivery(self, _provider: str) -> _NoDelivery:
        """Remember nothing: whom it wakes is not known yet."""
        return _NO_DELIVERY


class _Message:
    """A message that is carried out without a trace of ours."""

    __slots__ = ("_within", "envelope")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        traceparent = messages.traceparent(envelope.headers.get("traceparent"))
        self._within = within(ids_of_message(envelope, traceparent))

    def __enter__(self) -> Self:
        self._within.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._within.__exit__()

    def settled(self, _settlement: Settlement) -> None:
        return


class _Publication:
    """An event that is published without a trace of ours."""

    __slots__ = ("_traceparent",)

    def __init__(self, event: Outgoing) -> None:
        self._traceparent = event.traceparent

    def __enter__(self) -> str | None:
        return self._traceparent

    def __exit__(self, *_: object) -> None:
        return


class _Nothing:
    __slots__ = ()

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return


class _NoCall:
    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def answered(self, _status: int, _request_id: str | None) -> None:
        return

    def silent(self, _why: str) -> None:
        return


class _NoDelivery:
    __slots__ = ()
    wants_traces = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def heard(self, _outcome: str, _traceparents: Sequence[str]) -> None:
        return


_NOTHING: Final = _Nothing()
_NO_DELIVERY: Final = _NoDelivery()
_NO_CALL: Final = _NoCall()
#: The way without traces.
UNTRACED: Final[Journeys] = Untraced()
