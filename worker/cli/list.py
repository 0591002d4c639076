"""`list`: the withdrawals in the ledger, a line each; what a person on call begins with."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from config.durations import parse_duration
from worker.cli.settings import failing, settings_or_exit
from worker.core.events import moment
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


@dataclass(frozen=True, slots=True)
class _Since:
    """The beginning of a span: a moment, or how long ago."""

    given: datetime | timedelta

    def moment(self, now: datetime) -> datetime:
        return now - self.given if isinstance(self.given, timedelta) else self.given


def _since(text: str) -> _Since:
    for read in (parse_duration, _read_day, _read_moment):
        with suppress(ValueError, OverflowError):
            return _Since(read(text))
    raise typer.BadParameter(
        "expected a time with its zone (2026-06-02T09:00:00Z), a day (2026-06-02), or how long ago "
        "(PT24H, or seconds)"
    )


def _read_day(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), time(), UTC)


def _read_moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("without a zone it names no moment")
    return moment.astimezone(UTC)


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
        _Since | None,
        typer.Option(
            parser=_since, metavar="TIME|DURATION", help="Taken in since then, or so long ago."
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
            since=None if since is None else since.moment(now),
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
        "taken_at": moment(order.taken_at),
        "changed_at": moment(withdrawal.changed_at),
        "next_step_due_at": None if withdrawal.due_at is None else moment(withdrawal.due_at),
    }
