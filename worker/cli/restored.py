"""`restored`: puts what is unfinished in doubt, in a ledger that was put back to an earlier moment.

Options, one call, an exit code; what follows for each request is decided in the core."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from config.logging import configure_logging
from worker.app import patience_of
from worker.cli.moments import Moment, moment
from worker.cli.settings import FAILED, WRONG_USE, failing, settings_or_exit
from worker.core import events
from worker.flows.restored import distrust_all
from worker.ledger.engine import sole_worker
from worker.ledger.migrate import require_schema
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from datetime import datetime

    from config.settings import Settings
    from worker.flows.restored import Doubted

_SERVED: Final = (
    "nothing done: a worker runs on this ledger, or did a few seconds ago; stop all workers first"
)
_AHEAD: Final = "nothing done: --to: expected a time that has passed"


def restored(
    *,
    to: Annotated[
        Moment,
        typer.Option(
            parser=moment,
            metavar="TIME|DURATION",
            help="The moment of the backup, or of the last write that the standby had; rather too"
            " early than too late.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Make a ledger safe that was restored from a backup, before a worker runs on it.

    What was paid after that moment looks in it as if it were waiting. Every request that the ledger
    believes to be not yet at the provider is put in doubt: the worker looks for it in the
    provider's list, adopts what is there, and sends the rest when that is harmless for certain.

    Refused while a worker runs. The runbook says what comes before and after.

    Exit codes: 0 done, 1 refused or not possible, 2 wrong use.
    """
    if not yes and not sys.stdin.isatty():
        typer.echo("nothing done: without a terminal, confirm by --yes", err=True)
        raise typer.Exit(WRONG_USE)
    settings = settings_or_exit(need_provider=False)
    configure_logging("CRITICAL", "console")
    if not yes and not typer.confirm("Are all workers stopped, of the old ledger too?", err=True):
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(FAILED)
    with failing():
        since, done = asyncio.run(_distrust(settings, to))
    typer.echo(f"put back to {events.moment(since)}")
    typer.echo(f"{done.doubted} in doubt: looked for at the provider before anything is sent")
    typer.echo(f"{done.left} left as they are: the provider's id is known, or a person rules")
    if done.overtaken:
        typer.echo(f"{done.overtaken} were changed meanwhile: stop all workers, do it again")
        raise typer.Exit(FAILED)


async def _distrust(settings: Settings, to: Moment) -> tuple[datetime, Doubted]:
    url = settings.ledger.url.get_secret_value()
    with sole_worker(url):
        await require_schema(url)
        async with open_ledger(url) as ledger:
            now = await ledger.read_clock()
            if await ledger.is_served():
                _refuse(_SERVED, FAILED)
            since = to.at(now)
            if since > now:
                _refuse(_AHEAD, WRONG_USE)
            # Whoever names too late a moment is put right by the ledger's own last sign of life.
            since = min(since, await ledger.newest_sign() or since)
            patience = patience_of(settings)
            return since, await distrust_all(ledger, since=since, now=now, patience=patience)


def _refuse(sentence: str, code: int) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)
