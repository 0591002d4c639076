"""`run` and `migrate`: the worker itself, and its ledger's schema."""

from __future__ import annotations

import asyncio

import typer

from config.logging import configure_logging
from worker import app
from worker.cli.settings import failing, settings_or_exit
from worker.ledger.migrate import migrate as migrate_ledger


def run() -> None:
    """Take requests, pay them out, follow them, publish events; until SIGTERM."""
    settings = settings_or_exit()
    configure_logging(settings.log_level, settings.log_format)
    with failing():
        code = asyncio.run(app.run(settings))
    raise typer.Exit(code)


def migrate() -> None:
    """Bring the ledger's schema up to date. Safe beside running workers."""
    settings = settings_or_exit(need_provider=False)
    configure_logging(settings.log_level, settings.log_format)
    with failing():
        before, after = asyncio.run(migrate_ledger(settings.ledger.url.get_secret_value()))
    if before == after:
        typer.echo(f"the ledger is up to date (revision {after})")
    else:
        typer.echo(f"the ledger went from revision {before or 'nothing'} to {after}")
