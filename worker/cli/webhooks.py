"""`webhooks register | list | remove`: whom a provider tells when something changes.

Options, a few calls, an exit code. No delivery is taken here: that is the worker's own port."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer

from config.logging import configure_logging
from config.providers import CREDENTIALS
from config.providers import Provider as Name
from config.urls import check_https
from worker.app import open_if_there, open_subscriptions
from worker.cli.settings import FAILED, WRONG_USE, failing, settings_or_exit
from worker.metrics import Metrics
from worker.providers import bluum_subscriptions, upvest_subscriptions
from worker.providers.subscriptions import Registered, Subscription, Subscriptions, Trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.settings import Settings

_T = TypeVar("_T")

#: Where the worker listens (contract section 6).
PATH: Final = "/webhooks/<provider>"
#: What has deliveries taken, by provider: a setting's name.
SECRET_VARIABLES: Final = {
    "bluum": "WORKER_BLUUM__WEBHOOK__SECRET",
    "bluum_accounts": "WORKER_BLUUM_ACCOUNTS__WEBHOOK__SECRET",
}
ENABLED_VARIABLE: Final = "WORKER_UPVEST__WEBHOOK__ENABLED"
_OWNER_ONLY: Final = 0o600

_HELP: Final = "Have a provider tell the worker when something changes, so that it need not look."

webhooks = typer.Typer(name="webhooks", help=_HELP, no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]
_Which = Annotated[
    str | None,
    typer.Option(
        help=f"The provider: {', '.join(CREDENTIALS)}. By default the only one that is enabled."
    ),
]


@webhooks.callback(help=_HELP)
def webhooks_group() -> None:
    """Hold the commands together."""


@webhooks.command()
def register(
    url: Annotated[
        str, typer.Argument(help=f"Where the worker is reached from outside, with {PATH}.")
    ],
    *,
    provider: _Which = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="An event, or with Bluum a wildcard such as order.*; repeatable. By default"
            f" {', '.join(bluum_subscriptions.EVENTS)}; with Upvest"
            f" {', '.join(upvest_subscriptions.EVENTS)}."
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Its name in the provider's list.")
    ] = "withdrawals-worker",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="Write the secret into this new file, readable by you alone."),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Write it again as it is: Bluum then shows the secret.")
    ] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not check first whether there are such events.")
    ] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Have it tested: Upvest delivers something at once.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Subscribe to a provider's webhooks, once: repeated, it finds its subscription and mends it.

    What has the worker take the deliveries goes to standard output alone, as a line for the
    settings, all else to standard error; so this keeps it:

        withdrawals-worker webhooks register https://…/webhooks/bluum >> .env

    With Bluum that is the secret, which it shows when a subscription is made or changed. Upvest
    signs with keys of its own, which the worker fetches.

    Exit codes: 0 subscribed, 1 not done, 2 wrong use.
    """
    settings, which = _chosen(provider)
    _check(url, secret_file, which)

    async def calls(subscriptions: Subscriptions) -> Registered | Trouble:
        if (unfit := subscriptions.unfit(url, name)) is not None:
            _fail(unfit, code=WRONG_USE)
        wanted = tuple(dict.fromkeys(event or subscriptions.events))
        trouble = None if unchecked else await subscriptions.unknown(wanted)
        registered = trouble or await subscriptions.register(url, wanted, name=name, renew=renew)
        return await _tested(subscriptions, registered) if test else registered

    registered = _asked(settings, which, calls)
    secret = registered.secret
    if secret_file is not None and secret is not None:
        _keep(secret, secret_file)
    _show(registered, which, secret=secret if secret_file is None else None, as_json=as_json)


@webhooks.command(name="list")
def list_(*, provider: _Which = None, as_json: _Json = False) -> None:
    """List the subscriptions at a provider, a line each; their secrets are not shown.

    Exit codes: 0 listed, 1 not done.
    """
    found = _asked(*_chosen(provider), lambda subscriptions: subscriptions.listed())
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
    provider: _Which = None,
    as_json: _Json = False,
) -> None:
    """Remove a subscription; withdrawals are followed by looking alone then.

    Exit codes: 0 it is gone, also when there was none; 1 not done.
    """

    async def calls(subscriptions: Subscriptions) -> tuple[str, ...] | Trouble:
        listed = await subscriptions.listed()
        if isinstance(listed, Trouble):
            return listed
        removed = [one.id for one in listed if which in {one.id, one.url}]
        for identity in removed:
            gone = await subscriptions.remove(identity)
            if isinstance(gone, Trouble):
                return gone
        return tuple(removed)

    removed = _asked(*_chosen(provider), calls)
    if as_json:
        typer.echo(json.dumps({"removed": removed}, indent=2))
    else:
        typer.echo(f"removed {', '.join(removed)}" if removed else f"there is no {which}")


def _chosen(provider: str | None) -> tuple[Settings, Name]:
    """Return the settings and the provider that is meant; or end with a sentence."""
    settings = settings_or_exit()
    enabled: list[Name] = [name for name in CREDENTIALS if getattr(settings, name).enabled]
    fit: list[Name] = [name for name in CREDENTIALS if provider in {None, name}]
    chosen = [name for name in enabled if name in fit]
    if not fit:
        _fail(f"{provider}: expected {' or '.join(CREDENTIALS)}", code=WRONG_USE)
    if not chosen:
        _fail(f"{provider} is not enabled: give its credentials")
    if len(chosen) > 1:
        _fail(f"--provider is needed: {', '.join(chosen)} are enabled", code=WRONG_USE)
    return settings, chosen[0]


def _check(url: str, secret_file: Path | None, which: Name) -> None:
    try:
        check_https(url)
    except ValueError as error:
        _fail(f"{url}: {error}", code=WRONG_USE)
    if secret_file is None:
        return
    if which not in SECRET_VARIABLES:
        _fail(f"--secret-file: with {which} there is no secret", code=WRONG_USE)
    if secret_file.exists():
        _fail(f"{secret_file}: there is such a file already", code=WRONG_USE)


def _asked(
    settings: Settings, which: Name, calls: Callable[[Subscriptions], Awaitable[_T | Trouble]]
) -> _T:
    """Make some calls to a provider; return what came of them, or end with a sentence.

    They are made within the request budget that the workers share, in the class of looks, where
    there is a ledger.
    """
    configure_logging("CRITICAL", "console")

    async def ask() -> _T | Trouble:
        metrics = Metrics(version=version("withdrawals-worker"))
        async with AsyncExitStack() as stack:
            ledger = await open_if_there(settings.ledger.url.get_secret_value(), stack)
            subscriptions = await open_subscriptions(settings, which, metrics, stack, ledger=ledger)
            if subscriptions is None:
                return Trouble(f"{which} is not enabled: give its credentials")
            return await calls(subscriptions)

    with failing(settings):
        told = asyncio.run(ask())
    if isinstance(told, Trouble):
        _fail(told.why)
    return told


async def _tested(
    subscriptions: Subscriptions, registered: Registered | Trouble
) -> Registered | Trouble:
    if isinstance(registered, Trouble):
        return registered
    untested = await subscriptions.test(registered.subscription.id)
    if untested is not None:
        return Trouble(f"{registered.how}, and not tested: {untested.why}")
    return registered


def _show(registered: Registered, which: Name, *, secret: str | None, as_json: bool) -> None:
    """Show what came of a registration; `secret` is the one that is to be seen."""
    if as_json:
        document = _document(registered.subscription) | {
            "result": registered.how,
            "secret": secret,
            "twins": registered.twins,
        }
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"{registered.how}: {_words(registered.subscription)}", err=True)
    for twin in registered.twins:
        typer.echo(f"{twin} has the same address: see `webhooks remove {twin}`", err=True)
    if which not in SECRET_VARIABLES:
        typer.echo(f"{ENABLED_VARIABLE}=true")
    elif registered.secret is None:
        typer.echo("Bluum showed no secret; with --renew it may", err=True)
    elif secret is not None:
        typer.echo(f"{SECRET_VARIABLES[which]}={secret}")


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
