"""`list`: the withdrawals in the ledger, a line each; what a person on call begins with."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.cli.moments import Moment, moment
from worker.cli.settings import failing, settings_or_exit
from worker.core import events
from worker.core.withdrawal import Status
from worker.ledger.migrate import require_schema
from worker.ledger.queries import Wanted
from worker.ledger.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.withdrawal import Withdrawal

LIMIT: Final = 50
LIMIT_MAX: Final = 10_000
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)
_SECOND: Final = timedelta(seconds=1)


def list_(
    *,
    status: Annotated[
        list[Status] | None, typer.Option(help="Repeatable; by default all that are unfinished.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Only those of this provider.")] = None,
    party: Annotated[
        str | None, typer.Option(help="Only those of this investor, account or account group.")
    ] = None,
    since: Annotated[
        Moment | None,
        typer.Option(
            parser=moment, metavar="TIME|DURATION", help="Taken in since then, or so long ago."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list, for scripts.")] = False,
) -> None:
    """List withdrawals, the oldest first. Reads beside a running worker.

    `list --status unresolved` shows what waits for a person, see `resolve`.
    """
    settings = settings_or_exit(need_provider=False)

    def wanted(now: datetime) -> Wanted:
        return Wanted(
            statuses=frozenset(status or ()),
            provider=provider,
            party_id=party,
            since=None if since is None else since.at(now),
        )

    url = settings.ledger.url.get_secret_value()
    with failing():
        now, found = asyncio.run(_read(url, wanted, limit))
    if as_json:
        typer.echo(json.dumps([_document(one, now) for one in found], indent=2))
        return
    lines = [_HEADING, *(_words(one, now) for one in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADING))]
    for line in lines:
        cells = (word.ljust(width) for word, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    if len(found) == limit:
        typer.echo(f"there may be more than {limit}: see --limit", err=True)


_HEADING: Final = (
    "message id",
    "status",
    "amount",
    "currency",
    "age",
    "withdrawal id",
    "reason",
)


async def _read(
    url: str, wanted: Callable[[datetime], Wanted], limit: int
) -> tuple[datetime, list[Withdrawal]]:
    await require_schema(url)
    ledger = Ledger(url)
    try:
        now = await ledger.read_clock()
        return now, await ledger.wanted(wanted(now), limit=limit)
    finally:
        await ledger.close()


def _words(withdrawal: Withdrawal, now: datetime) -> tuple[str, ...]:
    order, reason = withdrawal.order, withdrawal.reason
    return (
        order.message_id,
        withdrawal.status.value,
        "-" if order.amount is None else f"{order.amount:.2f}",
        order.currency or "-",
        _age(now - order.taken_at),
        withdrawal.withdrawal_id or "-",
        "-" if reason is None else reason.code.value,
    )


def _age(age: timedelta) -> str:
    """Write an age in its largest whole unit."""
    for unit, letter in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if age >= 2 * unit:
            return f"{age // unit} {letter}"
    return f"{max(0, age // _SECOND)} s"


def _document(withdrawal: Withdrawal, now: datetime) -> dict[str, Any]:
    order, reason = withdrawal.order, withdrawal.reason
    return {
        "message_id": order.message_id,
        "status": withdrawal.status.value,
        "provider": order.provider,
        "party_id": order.party_id,
        "amount": None if order.amount is None else f"{order.amount:.2f}",
        "currency": order.currency,
        "method": order.method,
        "withdrawal_id": withdrawal.withdrawal_id,
        "provider_status": withdrawal.provider_status,
        "reason_code": None if reason is None else reason.code.value,
        "outcome_unknown": withdrawal.in_doubt,
        "age_seconds": max(0.0, (now - order.taken_at).total_seconds()),
        "taken_at": events.moment(order.taken_at),
        "changed_at": events.moment(withdrawal.changed_at),
        "next_step_due_at": None if withdrawal.due_at is None else events.moment(withdrawal.due_at),
    }
