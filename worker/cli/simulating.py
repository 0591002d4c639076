"""What the commands that simulate a provider share: options as values, and serving until a signal.

Whose API it is they do not know."""

from __future__ import annotations

import asyncio
import signal
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

import typer

from worker.simulator.clock import seconds
from worker.simulator.faults import SHARES, Faults, Reach, read_faults

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta

FAILED: Final = 1


def run_simulator(name: str, serving: AbstractAsyncContextManager[Any], *, at: str) -> None:
    """Serve until a signal ends it; exit code 1 when the address `at` is taken."""
    try:
        asyncio.run(_serve_until_signal(name, serving))
    except OSError as error:
        typer.echo(f"cannot listen on {at}: {error.strerror}", err=True)
        raise typer.Exit(FAILED) from None


async def _serve_until_signal(name: str, serving: AbstractAsyncContextManager[Any]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving as server:
        typer.echo(f"{name} simulator listening on {server.base_url}")
        await stop.wait()


def decimal_option(text: str, *, name: str) -> Decimal:
    """Return the number that an option gives; ValueError naming it when it is none."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name}: a decimal number, not {text!r}") from None


def pauses_option(text: str) -> tuple[timedelta, ...]:
    """Return the pauses before a webhook is repeated; ValueError when they are no seconds."""
    try:
        pauses = [float(pause) for pause in text.split(",") if pause.strip()]
    except ValueError:
        raise ValueError(f"webhook_retries: seconds with commas between, not {text!r}") from None
    return tuple(seconds(pause, name="webhook_retries") for pause in pauses)


def faults_option(pairs: list[str], *, calls: Reach, outage: bool) -> Faults:
    """Return the faults that `KIND=SHARE` pairs give; ValueError naming a senseless one."""
    shares: dict[str, float] = {}
    for pair in pairs:
        kind, _, share = pair.partition("=")
        if kind not in SHARES:
            raise ValueError(f"fault: a kind of {', '.join(SHARES)}, not {kind!r}")
        try:
            shares[kind] = float(share)
        except ValueError:
            raise ValueError(f"fault: KIND=SHARE, not {pair!r}") from None
    return read_faults({**shares, "calls": calls, "outage": outage})
