"""`reconcile`: compares the provider's lists with the ledger, and says what does not agree.

Options, one walk, an exit code; what counts as a finding is decided in the core, and a withdrawal
moves only when a worker has looked at it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress

from config.logging import configure_logging
from worker.app import open_providers, reconciliation_of
from worker.cli.moments import Moment, moment
from worker.cli.settings import FAILED, WRONG_USE, failing, settings_or_exit
from worker.core import events
from worker.core.reconciliation import Kind, Period
from worker.flows.reconcile import Repair
from worker.ledger.migrate import require_schema
from worker.ledger.store import open_ledger
from worker.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from config.settings import Settings
    from worker.flows.reconcile import Compared, Found, Reconciliation

SINCE: Final = "7d"
#: So many findings a JSON document holds; all are counted.
FINDINGS_MAX: Final = 10_000

_COVERED: Final = (
    "compared are the parties that have requests in the ledger in this period, and those given by "
    "--party: the provider lists no parties, so others are not seen"
)
_COVERED_ONLY: Final = "compared are the parties given by --party alone"


class _WrongUse(Exception):  # noqa: N818 - it says what is wrong with the options, in a sentence
    """The options contradict each other, or the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is to be compared, as it was asked for."""

    since: Moment
    until: Moment | None
    provider: str | None
    parties: tuple[str, ...]
    only: bool


@dataclass(slots=True)
class _Outcome:
    """What was compared so far."""

    period: Period | None = None
    providers: tuple[str, ...] = ()
    parties: int = 0
    rows: int = 0
    listed: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    repairs: Counter[Repair] = field(default_factory=Counter)
    kept: list[Found] = field(default_factory=list)
    #: Why it did not get to its end, if it did not.
    broken_off: str | None = "broken off"

    def add(self, compared: Compared) -> None:
        """Count one party."""
        self.parties += 1
        self.rows += compared.rows
        self.listed += compared.listed
        for found in compared.found:
            self.counts[found.finding.kind] += 1
            self.repairs[found.repair] += 1
            if len(self.kept) < FINDINGS_MAX:
                self.kept.append(found)

    @property
    def is_well(self) -> bool:
        """Whether nobody has to do anything."""
        repaired = self.repairs[Repair.WILL_BE_LOOKED_AT]
        return self.broken_off is None and repaired == self.counts.total()


def reconcile(
    *,
    since: Annotated[
        Moment,
        typer.Option(
            parser=moment,
            metavar="TIME|DURATION",
            help="From then on, or from so long ago (7d, 2026-06-02).",
        ),
    ] = SINCE,  # type: ignore[assignment] # typer parses a default as it parses what is given
    until: Annotated[
        Moment | None,
        typer.Option(parser=moment, metavar="TIME|DURATION", help="Until then; by default now."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this provider; by default all that are enabled."),
    ] = None,
    party: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="This investor or account too, known or not; repeatable."),
    ] = None,
    only: Annotated[
        bool, typer.Option("--only", help="Compare the parties given by --party alone.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document, for scripts.")
    ] = False,
) -> None:
    """Compare what the provider lists with the ledger, beside running workers.

    Where the provider is further on, a worker is asked to look at once; it decides then and tells
    of it. Everything else is reported, and nothing else is changed anywhere.

    Calls are made within the shared request budget, in the class of looks: payouts go first.

    Exit codes: 0 nothing wrong or all repaired, 1 something was found or could not be read, 2 wrong
    use.
    """
    if only and not party:
        _wrong_use("--only: expected at least one --party with it")
    asked = _Asked(
        since=since, until=until, provider=provider, parties=tuple(party or ()), only=only
    )
    settings = settings_or_exit()
    configure_logging("CRITICAL", "console")
    outcome = _Outcome()
    try:
        with failing():
            asyncio.run(_run(settings, asked, outcome, as_json=as_json))
    except _WrongUse as wrong:
        _wrong_use(str(wrong))
    except KeyboardInterrupt:
        pass
    if as_json:
        typer.echo(json.dumps(_document(outcome, asked), indent=2))
    else:
        _print_summary(outcome, asked)
    if not outcome.is_well:
        raise typer.Exit(FAILED)


async def _run(settings: Settings, asked: _Asked, outcome: _Outcome, *, as_json: bool) -> None:
    url = settings.ledger.url.get_secret_value()
    await require_schema(url)
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(open_ledger(url))
        now = await ledger.read_clock()
        period = Period(asked.since.at(now), now if asked.until is None else asked.until.at(now))
        if period.since >= period.until:
            raise _WrongUse("--since: expected a time before --until")
        metrics = Metrics(version=version("withdrawals-worker"))
        # Without a tenure nothing can be created here, whatever else is done.
        providers = await open_providers(
            settings, metrics, stack, now=ledger.now, tenure=lambda: None, ledger=ledger
        )
        if asked.provider is not None and asked.provider not in providers:
            raise _WrongUse(f"the provider {asked.provider} is not enabled here")
        outcome.period = period
        outcome.providers = tuple(providers) if asked.provider is None else (asked.provider,)
        by_hand = asked.provider or settings.default_provider
        given = frozenset((by_hand, party_id) for party_id in asked.parties)
        span = (0, 0) if asked.only else await ledger.span(period)
        reconciliation = reconciliation_of(settings, providers, ledger)
        walk = _compared(reconciliation, period, given, span=span, provider=asked.provider)
        total = span[1] - span[0] + len(given)
        await _tell(walk, outcome, first=span[0], total=total, as_json=as_json)


async def _tell(
    walk: AsyncIterator[Compared], outcome: _Outcome, *, first: int, total: int, as_json: bool
) -> None:
    """Tell of each finding as it comes, and how far it has got on a terminal."""
    console = Console(stderr=True)
    with Progress(
        console=console,
        disable=as_json or not console.is_terminal,
        # What goes elsewhere must not be drawn above the bar.
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        task, by_hand = progress.add_task("comparing", total=total), 0
        async for compared in walk:
            outcome.add(compared)
            by_hand += not compared.place
            progress.update(task, completed=max(0, compared.place - first) + by_hand)
            if not as_json:
                for found in compared.found:
                    typer.echo(_line(found))
            if compared.is_denied:
                outcome.broken_off = "the provider does not accept the credentials"
                return
    outcome.broken_off = None


async def _compared(
    reconciliation: Reconciliation,
    period: Period,
    given: frozenset[tuple[str, str]],
    *,
    span: tuple[int, int],
    provider: str | None,
) -> AsyncIterator[Compared]:
    """Compare the parties given by hand, then those that the ledger knows besides."""
    for name, party_id in sorted(given):
        yield await reconciliation.party(name, party_id, period)
    after, last = span
    async for compared in reconciliation.walk(
        period, after=after, last=last, provider=provider, besides=given
    ):
        yield compared


def _line(found: Found) -> str:
    """Write a finding down in one line: neither a target nor anybody's text is in it."""
    finding = found.finding
    amount, currency = finding.listed_amount, finding.listed_currency
    if amount is None and finding.amount is not None:
        amount, currency = f"{finding.amount:.2f}", finding.currency
    request = "" if finding.message_id is None else f"request {finding.message_id}"
    words = [
        finding.kind.value,
        finding.provider,
        finding.party_id,
        finding.withdrawal_id or "",
        "" if amount is None else f"{amount} {currency or ''}".rstrip(),
        "" if finding.created_on is None else f"created {finding.created_on}",
        request,
        finding.why + _asked_for(found),
        "" if found.repair is Repair.NONE else f"({found.repair.value})",
    ]
    line = _printable("  ".join(word for word in words if word))
    return line if finding.command is None else f"{line}\n  {_printable(finding.command)}"


def _asked_for(found: Found) -> str:
    finding = found.finding
    if finding.kind is not Kind.AMOUNT_DIFFERS or finding.amount is None:
        return ""
    return f": asked for were {finding.amount:.2f} {finding.currency}"


def _print_summary(outcome: _Outcome, asked: _Asked) -> None:
    if outcome.period is not None:
        since, until = (events.moment(at) for at in (outcome.period.since, outcome.period.until))
        typer.echo(
            f"{outcome.parties} parties of {', '.join(outcome.providers)}: {outcome.rows} requests "
            f"and {outcome.listed} listed withdrawals, {since} to {until}"
        )
        typer.echo(_COVERED_ONLY if asked.only else _COVERED)
    if outcome.repairs[Repair.NEEDS_A_WORKER]:
        typer.echo("no worker runs on this ledger: what drifted is looked at once one does")
    found = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.counts.items()))
    typer.echo(f"found: {found or 'nothing'}")
    if outcome.broken_off is not None:
        typer.echo(f"not all was compared: {outcome.broken_off}", err=True)


def _document(outcome: _Outcome, asked: _Asked) -> dict[str, Any]:
    period = outcome.period
    return {
        "is_well": outcome.is_well,
        "problem": outcome.broken_off,
        "since": None if period is None else events.moment(period.since),
        "until": None if period is None else events.moment(period.until),
        "days_read": None if period is None else [day.isoformat() for day in period.days],
        "providers": list(outcome.providers),
        "covered": _COVERED_ONLY if asked.only else _COVERED,
        "parties": outcome.parties,
        "requests": outcome.rows,
        "listed": outcome.listed,
        "counts": {kind.value: outcome.counts[kind] for kind in Kind},
        "findings": [_finding(found) for found in outcome.kept],
        "left_out": outcome.counts.total() - len(outcome.kept),
    }


def _finding(found: Found) -> dict[str, Any]:
    finding = found.finding
    return {
        "kind": finding.kind.value,
        "provider": finding.provider,
        "party_id": finding.party_id,
        "message_id": finding.message_id,
        "withdrawal_id": finding.withdrawal_id,
        "status": None if finding.status is None else finding.status.value,
        "provider_status": finding.listed_status,
        "amount": None if finding.amount is None else f"{finding.amount:.2f}",
        "currency": finding.currency,
        "provider_amount": finding.listed_amount,
        "provider_currency": finding.listed_currency,
        "created_on": None if finding.created_on is None else finding.created_on.isoformat(),
        "why": finding.why,
        "repair": found.repair.value,
        "command": finding.command,
    }


def _printable(text: str) -> str:
    """Keep an id that somebody chose from steering the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _wrong_use(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(WRONG_USE)
