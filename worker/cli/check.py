"""`check`: settings, broker, ledger and credentials, a line each; what is wrong, how to mend it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from config.logging import configure_logging
from config.providers import CREDENTIALS
from worker.app import broker_of, open_if_there, open_providers
from worker.cli.books import check_books
from worker.cli.settings import FAILED, settings_or_exit
from worker.flows.ports import LedgerUnavailable
from worker.ledger.engine import LedgerForgetful, is_sqlite, place, why_unfit
from worker.ledger.failures import in_words
from worker.ledger.migrate import SchemaOutdated, require_durable, require_schema
from worker.metrics import Metrics
from worker.rabbitmq import failures, topology

if TYPE_CHECKING:
    from collections.abc import Collection

    from config.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing; `mend` says what to do when it does not hold."""

    name: str
    holds: bool
    detail: str
    mend: str = ""


def check(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for scripts.")] = False,
    books: Annotated[
        bool,
        typer.Option(
            "--books",
            help="Recompute the books instead: is every request somewhere, was any row altered?",
        ),
    ] = False,
) -> None:
    """Check that the worker could do its work from here. Changes nothing anywhere.

    The one call to each provider counts in the request budget of the workers beside it.

    With --books it goes through the whole ledger instead, beside running workers. Exit codes: 0 all
    is well, 1 something is not, 2 the settings cannot be used.
    """
    if books:
        settings = settings_or_exit(need_provider=False)
        check_books(settings.ledger.url.get_secret_value(), as_json=as_json)
        return
    settings = settings_or_exit()
    configure_logging("CRITICAL", "console")
    findings = asyncio.run(_findings(settings))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{'ok  ' if finding.holds else 'FAIL'} {finding.name}: {finding.detail}")
            if finding.mend and not finding.holds:
                typer.echo(f"     {finding.mend}")
    if not all(finding.holds for finding in findings):
        raise typer.Exit(FAILED)


async def _findings(settings: Settings) -> list[Finding]:
    return [
        Finding("settings", holds=True, detail="usable"),
        await _broker(settings),
        await _ledger(settings),
        *await _credentials(settings),
    ]


async def _broker(settings: Settings) -> Finding:
    broker = broker_of(settings)
    try:
        async with broker.connect("check") as connection:
            await topology.ensure(connection, declare=False)
    except topology.TopologyUnsafe as unsafe:
        missing = all("missing" in problem for problem in unsafe.problems)
        if missing and settings.rabbitmq.declare:
            return Finding("broker", holds=True, detail="reached; `run` will declare the topology")
        mend = _mend_unsafe(unsafe.problems)
        return Finding("broker", holds=False, detail=str(unsafe), mend=mend)
    except failures.AWAY as error:
        mend = "is WORKER_RABBITMQ__URL right, user and vhost included, and the broker up?"
        detail = f"{broker.place}: {failures.in_words(error)}"
        return Finding("broker", holds=False, detail=detail, mend=mend)
    return Finding("broker", holds=True, detail="reached; no path on which a message could be lost")


async def _ledger(settings: Settings) -> Finding:
    url = settings.ledger.url.get_secret_value()
    if is_sqlite(url) and (why := why_unfit(url)):
        mend = "is WORKER_LEDGER__URL right, and the folder there and writable?"
        return Finding("ledger", holds=False, detail=why, mend=mend)
    try:
        await require_schema(url)
        await require_durable(url)
    except SchemaOutdated as outdated:
        if not is_sqlite(url):
            return Finding("ledger", holds=False, detail=str(outdated))
        detail = "`run` will make or update the file"
    except LedgerUnavailable as error:
        # That one says itself what is to be done, and could well be reached.
        is_there = str(error) == LedgerForgetful.__name__
        mend = "" if is_there else "is WORKER_LEDGER__URL right, and the database up?"
        detail = f"{place(url)}: {in_words(error)}"
        return Finding("ledger", holds=False, detail=detail, mend=mend)
    else:
        detail = "reached, its schema is up to date"
    return Finding("ledger", holds=True, detail=detail)


async def _credentials(settings: Settings) -> list[Finding]:
    findings = []
    async with AsyncExitStack() as stack:
        metrics = Metrics(version=version("withdrawals-worker"))
        providers = await open_providers(
            settings,
            metrics,
            stack,
            now=lambda: datetime.now(UTC),
            # Nothing is created here.
            tenure=lambda: None,
            ledger=await open_if_there(settings.ledger.url.get_secret_value(), stack),
        )
        for name, provider in providers.items():
            prefix = f"WORKER_{name.upper()}__"
            accepted = await provider.try_credentials()
            if accepted is None:
                mend = f"is {prefix}BASE_URL right, and reachable from here?"
                found = Finding(name, holds=False, detail="no usable answer", mend=mend)
            elif accepted:
                found = Finding(name, holds=True, detail="credentials accepted")
            else:
                mend = _mend_refused(name)
                found = Finding(name, holds=False, detail="credentials refused", mend=mend)
            findings.append(found)
    return findings


def _mend_unsafe(problems: Collection[str]) -> str:
    if any("permission" in problem for problem in problems):
        return "give the user the permissions configure, write and read on `withdrawals.*`"
    return "declare what is missing, or delete what has other arguments and let `run` declare"


def _mend_refused(provider: str) -> str:
    names = next(names for known, names in CREDENTIALS.items() if known == provider)
    mend = f"are {' and '.join(names)} those of this environment?"
    # Its calls are signed, and a signature holds for a minute.
    return f"{mend} Is the clock of this machine right?" if provider == "upvest" else mend
