"""How commands load settings and end: sentences for people, exit codes of the contract."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

from config.settings import Settings, SettingsInvalid, load_settings
from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.ledger.engine import LedgerAddressInvalid, LedgerLocked
from worker.ledger.migrate import SchemaOutdated

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED: Final = 1
WRONG_USE: Final = 2

_FAILURES: Final = (
    LedgerAddressInvalid,
    LedgerLocked,
    LedgerUnavailable,
    SchemaOutdated,
    StepRefused,
)


def settings_or_exit(*, need_provider: bool = True) -> Settings:
    """Load the settings, or name every problem, a line each, and exit with 2."""
    try:
        return load_settings(need_provider=need_provider)
    except SettingsInvalid as invalid:
        for problem in invalid.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(WRONG_USE) from None


@contextmanager
def failing() -> Iterator[None]:
    """Turn what can go wrong outside of us into one sentence and exit code 1."""
    try:
        yield
    except LedgerUnavailable as error:
        typer.echo(f"the ledger cannot be reached: {error} (WORKER_LEDGER__URL)", err=True)
        raise typer.Exit(FAILED) from None
    except _FAILURES as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        typer.echo(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), err=True)
        raise typer.Exit(FAILED) from None
