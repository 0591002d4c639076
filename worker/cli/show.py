"""`show`: all that the ledger knows of one request."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.app import patience_of
from worker.cli.settings import FAILED, failing, settings_or_exit
from worker.core.events import moment, orders
from worker.core.steps import rests_until
from worker.ledger.migrate import require_schema
from worker.ledger.rows import moment as from_micros
from worker.ledger.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.ledger.store import History

_TIMES = frozenset(
    {
        "started_at",
        "ended_at",
        "at",
        "created_at",
        "published_at",
        "taken_at",
        "waits_until",
        "settled_at",
    }
)
#: What there may be several of, and the column that a line of it begins with.
_RECORDS = {
    "orders": "index",
    "attempts": "number",
    "transitions": "sequence",
    "events": "sequence",
    "cancellations": "message_id",
}


def show(
    message_id: Annotated[str, typer.Argument(help="The request's message id.")],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document, for scripts.")
    ] = False,
) -> None:
    """Show a request's state, its create calls, history, events and cancellations.

    Reads beside a running worker. What the provider wrote in free text stays in the ledger.
    """
    settings = settings_or_exit(need_provider=False)
    with failing():
        history, early, now = asyncio.run(
            _known(settings.ledger.url.get_secret_value(), message_id)
        )
    if history is None:
        typer.echo(f"no request with the message id {message_id} is in the ledger", err=True)
        for row in _rows(early):
            typer.echo(f"  {_fate(row)}", err=True)
        raise typer.Exit(FAILED)
    withdrawal = history.held.withdrawal
    resting = rests_until(withdrawal, now=now, patience=patience_of(settings))
    document = document_of(history, key_rests_until=resting)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        print_document(document)


async def _known(
    url: str, message_id: str
) -> tuple[History | None, tuple[Mapping[str, Any], ...], datetime]:
    """Return what is known of a request, and as of when.

    Where nothing is known of it, the cancellations that name it.
    """
    await require_schema(url)
    ledger = Ledger(url)
    try:
        now = await ledger.read_clock()
        history = await ledger.history(message_id)
        early = () if history else await ledger.cancellations_of(message_id)
        return history, early, now
    finally:
        await ledger.close()


def _fate(cancellation: Mapping[str, Any]) -> str:
    name = f"cancellation {cancellation['message_id']} of {cancellation['taken_at']}"
    if cancellation["settled_at"] is None:
        return f"{name} waits for it until {cancellation['waits_until']} or longer"
    return f"{name} was answered at {cancellation['settled_at']}: {cancellation['outcome']}"


def document_of(history: History, *, key_rests_until: datetime | None = None) -> dict[str, Any]:
    """Return all that is known of a request as a JSON document; nothing of it is secret.

    `key_rests_until` is when a fresh attempt may leave that waits for its key to be forgotten.
    """
    withdrawal = history.held.withdrawal
    order = withdrawal.order
    reason = withdrawal.reason
    return {
        "message_id": order.message_id,
        "status": withdrawal.status.value,
        "provider": order.provider,
        "withdrawal_id": withdrawal.withdrawal_id,
        "provider_status": withdrawal.provider_status,
        "reason": None if reason is None else f"{reason.code.value}: {reason.message}",
        "party_id": order.party_id,
        "amount": None if order.amount is None else f"{order.amount:.2f}",
        "currency": order.currency,
        "method": order.method,
        "idempotency_key": order.idempotency_key,
        "correlation_id": order.correlation_id,
        "outcome_unknown": withdrawal.in_doubt,
        "taken_at": _written(order.taken_at),
        "changed_at": _written(withdrawal.changed_at),
        "first_attempt_at": _written(withdrawal.first_attempt_at),
        "next_step_due_at": _written(withdrawal.due_at),
        "key_rests_until": _written(key_rests_until),
        "cancel_wanted": withdrawal.cancel_wanted,
        "orders": orders(withdrawal),
        "attempts": _rows(history.attempts),
        "transitions": _rows(history.transitions),
        "events": _rows(history.events),
        "cancellations": _rows(history.cancellations),
    }


def _rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            name: _written(from_micros(value)) if name in _TIMES else value
            for name, value in row.items()
        }
        for row in rows
    ]


def _written(at: datetime | None) -> str | None:
    return None if at is None else moment(at)


def print_document(
    document: Mapping[str, Any], *, records: Iterable[str] = _RECORDS, err: bool = False
) -> None:
    """Print facts as two columns and each record as one line; what is empty is left out."""
    for name, value in document.items():
        if not isinstance(value, list):
            typer.echo(f"{name.replace('_', ' '):18} {'-' if value is None else value}", err=err)
    for name in records:
        first = _RECORDS[name]
        typer.echo(f"\n{name}" if document[name] else f"\nno {name}", err=err)
        for row in document[name]:
            words = [
                f"{column}={value}"
                for column, value in row.items()
                if column != first and value not in {None, False}
            ]
            typer.echo(f"  {row[first]:>3}  {'  '.join(words)}", err=err)
