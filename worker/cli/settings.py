"""How commands load settings and end: sentences for people, exit codes of the contract."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import typer

from config.loading import SettingsInvalid, load_settings
from config.settings import Settings
from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.ledger.engine import LedgerAddressInvalid, LedgerFileUnfit, LedgerLocked, place
from worker.ledger.failures import in_words
from worker.ledger.migrate import SchemaOutdated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAILED: Final = 1
WRONG_USE: Final = 2

_OF_THE_LEDGER: Final = (LedgerAddressInvalid, LedgerFileUnfit, LedgerLocked)


def settings_or_exit(*, need_provider: bool = True) -> Settings:
    """Load the settings, or name every problem, a line each, and exit with 2."""
    try:
        return load_settings(need_provider=need_provider)
    except SettingsInvalid as invalid:
        for problem in invalid.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(WRONG_USE) from None


@contextmanager
def failing(
    settings: Settings | None = None, *, tell: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Turn what can go wrong outside of us into one sentence, which is told, and exit code 1.

    With `settings` the sentence names where the ledger is. It goes to stderr, unless `tell` is
    to hear it.
    """
    tell = tell or partial(typer.echo, err=True)
    try:
        yield
    except LedgerUnavailable as error:
        at = f" {place(settings.ledger.url.get_secret_value())}" if settings else ""
        tell(f"the ledger{at} cannot be reached: {in_words(error)} (WORKER_LEDGER__URL)")
        raise typer.Exit(FAILED) from None
    except _OF_THE_LEDGER as error:
        tell(f"{error} (WORKER_LEDGER__URL)")
        raise typer.Exit(FAILED) from None
    except (SchemaOutdated, StepRefused) as error:
        tell(str(error))
        raise typer.Exit(FAILED) from None
    except OSError as error:
        tell(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
        raise typer.Exit(FAILED) from None
