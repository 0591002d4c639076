"""`cancel`: publish one cancellation, after checking it as the worker would."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from worker.app import SHAPES, broker_of
from worker.cli.publishing import publishing
from worker.cli.settings import WRONG_USE, settings_or_exit
from worker.core.cancellations import Cancel, read_cancel
from worker.core.messages import Envelope, Misread
from worker.rabbitmq.requests import publish_cancellation
from worker.rabbitmq.topology import OWN_QUEUES

_HELP_ID = "The id of the cancellation: repeating the command with the same id changes nothing."


def cancel(
    request: Annotated[
        str | None,
        typer.Argument(metavar="MESSAGE_ID", help="The message id of the request to cancel."),
    ] = None,
    *,
    message_id: Annotated[str, typer.Option(metavar="CANCEL_ID", help=_HELP_ID)],
    withdrawal_id: Annotated[
        str | None,
        typer.Option(help="The provider's id of the withdrawal, in place of MESSAGE_ID."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Whose id that is; by default the default provider's.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, in your words; `show` tells it.")] = None,
    correlation_id: Annotated[
        str | None, typer.Option(help="Comes back with the copy of the answer.")
    ] = None,
    reply_to: Annotated[
        str | None, typer.Option(help="A queue that gets a copy of the answer.")
    ] = None,
) -> None:
    """Ask for the cancellation of one withdrawal; what became of it is an event of that withdrawal.

    Exit codes: 0 a queue holds it, 1 it could not be published, 2 it is not valid.
    """
    settings = settings_or_exit(need_provider=False)
    asked = {
        "request_message_id": request,
        "provider": provider,
        "withdrawal_id": withdrawal_id,
        "reason": reason,
    }
    body = json.dumps({name: given for name, given in asked.items() if given is not None}).encode()
    message = read_cancel(
        Envelope(
            body=body, message_id=message_id, correlation_id=correlation_id, reply_to=reply_to
        ),
        providers=SHAPES,
        default_provider=settings.default_provider,
        own_queues=OWN_QUEUES,
    )
    if isinstance(message, Misread):
        typer.echo(f"not published: {message.detail}", err=True)
        raise typer.Exit(WRONG_USE)
    with publishing("cancellations", repeated="it has one effect"):
        asyncio.run(
            publish_cancellation(
                broker_of(settings),
                body,
                message_id=message_id,
                correlation_id=correlation_id,
                reply_to=reply_to,
            )
        )
    typer.echo(_published(message))


def _published(message: Cancel) -> str:
    if message.request_message_id is None:
        return f"published {message.message_id}"
    see = f"withdrawals-worker show {message.request_message_id}"
    return f"published {message.message_id}; see: {see}"
