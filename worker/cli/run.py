"""`run` and `migrate`: the worker itself, and its ledger's schema."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Annotated

import typer

from config.logging import configure_logging
from worker import app
from worker.cli.settings import FAILED, WRONG_USE, failing, settings_or_exit
from worker.flows.journey import ids

_log = logging.getLogger(__name__)


def run() -> None:
    """Take requests, pay them out, follow them, publish events; until SIGTERM."""
    settings = settings_or_exit()
    configure_logging(settings.log_level, settings.log_format, context=ids)
    with failing(settings, tell=_tell):
        try:
            code = asyncio.run(app.run(settings))
        except (app.TracingMissing, app.TracingUnfit) as wrong:
            typer.echo(str(wrong), err=True)
            raise typer.Exit(WRONG_USE) from None
        except app.PortUnfit as unfit:
            _tell(str(unfit))
            raise typer.Exit(FAILED) from None
    raise typer.Exit(code)


def migrate(
    *,
    wait: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Wait so long for a PostgreSQL that is away; 0: do not."
        ),
    ] = 0,
) -> None:
    """Bring the ledger's schema up to date. Safe beside running workers."""
    settings = settings_or_exit(need_provider=False)
    configure_logging(settings.log_level, settings.log_format)
    with failing(settings):
        before, after = asyncio.run(
            app.migrate_once_there(
                settings.ledger.url.get_secret_value(), wait=timedelta(seconds=wait)
            )
        )
    if before == after:
        typer.echo(f"the ledger is up to date (revision {after})")
    else:
        typer.echo(f"the ledger went from revision {before or 'nothing'} to {after}")


def _tell(why: str) -> None:
    # By the log, which its reader expects to be all of one form; the last line is what
    # Kubernetes shows of a container that ended.
    _log.critical("worker cannot go on", extra={"reason": why})
