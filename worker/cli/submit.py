"""`submit`: publish one request, after checking it as the worker would."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from worker.app import SHAPES, broker_of
from worker.cli.publishing import publishing
from worker.cli.settings import WRONG_USE, settings_or_exit
from worker.core.messages import Envelope, Misread, read
from worker.rabbitmq.requests import publish_request
from worker.rabbitmq.topology import OWN_QUEUES

_HELP_ID = "The id of the request: repeating the command with the same id never pays twice."


def submit(
    file: Annotated[Path, typer.Argument(help="A file with the request's JSON, or - for stdin.")],
    message_id: Annotated[str, typer.Option(help=_HELP_ID)],
    correlation_id: Annotated[str | None, typer.Option(help="Echoed in every event.")] = None,
    reply_to: Annotated[
        str | None, typer.Option(help="A queue that gets a copy of every event.")
    ] = None,
) -> None:
    """Check a withdrawal request and publish it; the worker takes it from there.

    Exit codes: 0 a queue holds it, 1 it could not be published, 2 it is not valid.
    """
    settings = settings_or_exit(need_provider=False)
    body = _read(file)
    message = read(
        Envelope(
            body=body, message_id=message_id, correlation_id=correlation_id, reply_to=reply_to
        ),
        shapes=SHAPES,
        default_provider=settings.default_provider,
        own_queues=OWN_QUEUES,
    )
    if isinstance(message, Misread):
        typer.echo(f"not published: {message.detail}", err=True)
        raise typer.Exit(WRONG_USE)
    with publishing("requests", repeated="it never pays twice"):
        asyncio.run(
            publish_request(
                broker_of(settings),
                body,
                message_id=message_id,
                correlation_id=correlation_id,
                reply_to=reply_to,
            )
        )
    typer.echo(f"published {message_id}; see: withdrawals-worker show {message_id}")


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        typer.echo(f"{file}: {error.strerror}", err=True)
        raise typer.Exit(WRONG_USE) from None
