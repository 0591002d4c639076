"""`webhooks register | list | remove`: whom Bluum tells when something changes.

Options, a few calls, an exit code. No delivery is taken here: that is the worker's own port."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer

from config.logging import configure_logging
from config.urls import check_https
from worker.app import subscriptions_line
from worker.cli.settings import FAILED, WRONG_USE, settings_or_exit
from worker.providers.bluum_subscriptions import (
    EVENTS,
    Registered,
    Subscription,
    Subscriptions,
    Trouble,
    unknown_events,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")

#: Where the worker listens (contract section 6).
PATH: Final = "/webhooks/bluum"
SECRET_VARIABLE: Final = "WORKER_BLUUM__WEBHOOK__SECRET"  # noqa: S105 - a name, no secret
_OWNER_ONLY: Final = 0o600

webhooks = typer.Typer(
    name="webhooks",
    help="Have Bluum tell the worker when something changes, so that it need not wait to look.",
    no_args_is_help=True,
)

_Json = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]


@webhooks.callback()
def webhooks_group() -> None:
    """Have Bluum tell the worker when something changes, so that it need not wait to look."""


@webhooks.command()
def register(
    url: Annotated[
        str, typer.Argument(help=f"Where the worker is reached from outside, with {PATH}.")
    ],
    *,
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="An event, or a wildcard such as order.*; repeatable. By default "
            + ", ".join(EVENTS)
            + "."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Its name in Bluum's list.")] = "withdrawals-worker",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="Write the secret into this new file, readable by you alone."),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Write it again as it is: Bluum then shows the secret.")
    ] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not ask Bluum first whether it has the events.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Subscribe to Bluum's webhooks, once: repeated, it finds its subscription and mends it.

    The secret, which Bluum shows when a subscription is made or changed, goes to standard output as
    the line for the settings, all else to standard error; so this keeps it:

        withdrawals-worker webhooks register https://…/webhooks/bluum >> .env

    Exit codes: 0 subscribed, 1 not done, 2 wrong use.
    """
    _check(url, secret_file)
    wanted = tuple(dict.fromkeys(event or EVENTS))

    async def calls(bluum: Subscriptions) -> Registered | Trouble:
        trouble = None if unchecked else await _check_events(bluum, wanted)
        return trouble or await bluum.register(url, wanted, name=name, renew=renew)

    registered = _asked(calls)
    secret = registered.secret
    if secret_file is not None and secret is not None:
        _keep(secret, secret_file)
    if as_json:
        document = _document(registered.subscription) | {
            "result": registered.how,
            "secret": secret if secret_file is None else None,
            "twins": registered.twins,
        }
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"{registered.how}: {_words(registered.subscription)}", err=True)
    for twin in registered.twins:
        typer.echo(f"{twin} has the same address: see `webhooks remove {twin}`", err=True)
    if secret is None:
        typer.echo("Bluum showed no secret; with --renew it may", err=True)
    elif secret_file is None:
        typer.echo(f"{SECRET_VARIABLE}={secret}")


@webhooks.command(name="list")
def list_(*, as_json: _Json = False) -> None:
    """List the subscriptions of this key, a line each; their secrets are not shown.

    Exit codes: 0 listed, 1 not done.
    """
    found = _asked(lambda bluum: bluum.listed())
    if as_json:
        typer.echo(json.dumps([_document(one) for one in found], indent=2))
        return
    for one in found:
        typer.echo(_words(one))
    if not found:
        typer.echo("there are none", err=True)


@webhooks.command()
def remove(
    which: Annotated[str, typer.Argument(help="Its id, or its address.")],
    *,
    as_json: _Json = False,
) -> None:
    """Remove a subscription; withdrawals are followed by looking alone then.

    Exit codes: 0 it is gone, also when there was none; 1 not done.
    """

    async def calls(bluum: Subscriptions) -> tuple[str, ...] | Trouble:
        listed = await bluum.listed()
        if isinstance(listed, Trouble):
            return listed
        removed = [one.id for one in listed if which in {one.id, one.url}]
        for identity in removed:
            gone = await bluum.remove(identity)
            if isinstance(gone, Trouble):
                return gone
        return tuple(removed)

    removed = _asked(calls)
    if as_json:
        typer.echo(json.dumps({"removed": removed}, indent=2))
    else:
        typer.echo(f"removed {', '.join(removed)}" if removed else f"there is no {which}")


def _check(url: str, secret_file: Path | None) -> None:
    try:
        check_https(url)
    except ValueError as error:
        _fail(f"{url}: {error}", code=WRONG_USE)
    if secret_file is not None and secret_file.exists():
        _fail(f"{secret_file}: there is such a file already", code=WRONG_USE)


async def _check_events(bluum: Subscriptions, wanted: tuple[str, ...]) -> Trouble | None:
    known = await bluum.event_types()
    if isinstance(known, Trouble):
        return Trouble(f"{known.why} (--unchecked goes without it)")
    if unknown := unknown_events(wanted, known):
        return Trouble(
            f"Bluum has no event {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    return None


def _asked(calls: Callable[[Subscriptions], Awaitable[_T | Trouble]]) -> _T:
    """Make some calls; return what came of them, or end with a sentence."""
    settings = settings_or_exit()
    configure_logging("CRITICAL", "console")

    async def ask() -> _T | Trouble:
        line = subscriptions_line(settings)
        if line is None:
            return Trouble("Bluum is not enabled: give its credentials")
        async with line:
            return await calls(Subscriptions(line))

    told = asyncio.run(ask())
    if isinstance(told, Trouble):
        _fail(told.why)
    return told


def _keep(secret: str, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            file.write(secret)
    except OSError as error:
        _fail(f"{path}: {error.strerror}; subscribed, --renew shows the secret again")


def _words(subscription: Subscription) -> str:
    state = "active" if subscription.is_active else "inactive"
    return f"{subscription.id}  {state}  {subscription.url}  {', '.join(subscription.events)}"


def _document(subscription: Subscription) -> dict[str, Any]:
    return asdict(subscription)


def _fail(sentence: str, *, code: int = FAILED) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)
