"""How commands that publish say what went wrong.

Nothing is published here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from worker.cli.settings import FAILED
from worker.flows.ports import PublishUnconfirmed, PublishUnroutable

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def publishing(what: str, *, repeated: str) -> Iterator[None]:
    """Turn what can go wrong while publishing into one sentence and exit code 1.

    `what` is published, in the plural; `repeated` tells what a repetition does.
    """
    try:
        yield
    except PublishUnroutable:
        typer.echo(
            f"not published: no queue takes {what} yet; start the worker once, or declare its "
            "topology",
            err=True,
        )
        raise typer.Exit(FAILED) from None
    except PublishUnconfirmed as error:
        typer.echo(
            f"perhaps published: the broker did not confirm ({error}). Repeat the command with the "
            f"same --message-id; {repeated} (WORKER_RABBITMQ__URL)",
            err=True,
        )
        raise typer.Exit(FAILED) from None
