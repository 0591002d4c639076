"""How the commands on dead letters speak, and say what went wrong.

What they say of a letter is not here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from worker.cli.kept_letters import KeptUnsafe
from worker.cli.settings import FAILED
from worker.cli.settings import failing as failing_anywhere
from worker.flows.ports import PublishUnconfirmed, PublishUnroutable
from worker.rabbitmq import failures
from worker.rabbitmq.topology import TopologyUnsafe

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def failing() -> Iterator[None]:
    """Turn what can go wrong outside of us into one sentence and exit code 1."""
    with failing_anywhere():
        try:
            yield
        except typer.Exit:
            # A RuntimeError, as some of the library's failures are.
            raise
        except TopologyUnsafe as unsafe:
            fail(f"the dead letters cannot be read safely: {unsafe}")
        except KeptUnsafe as unsafe:
            fail(str(unsafe))
        except PublishUnroutable as error:
            fail(f"no queue takes what is replayed: {error} (start the worker once to declare it)")
        except PublishUnconfirmed as error:
            fail(f"the broker did not confirm: {error}")
        except Unheard:
            raise typer.Exit(FAILED) from None
        except failures.AWAY as error:
            fail(f"the broker cannot be reached: {failures.in_words(error)} (WORKER_RABBITMQ__URL)")


class Unheard(Exception):  # noqa: N818 - named by what happened
    """Standard output is closed: nobody hears what is said."""


def say(words: str) -> None:
    """Print a line at once. Raises Unheard."""
    try:
        typer.echo(words)
    except OSError:
        raise Unheard from None


def fail(words: str) -> NoReturn:
    """Say why on standard error, and exit with 1."""
    typer.echo(words, err=True)
    raise typer.Exit(FAILED) from None
