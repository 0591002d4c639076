"""`demo`: the whole journey on one machine, in under a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.demo.rabbitmq_source import Machine
from worker.demo.show import show


def demo(
    *,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", envvar="KEEP", help="Leave everything running and print the addresses."
        ),
    ] = False,
) -> None:
    """Watch payouts happen: a private RabbitMQ, a simulated provider and the real worker.

    Shares are sold, withdrawals paid, refused, cancelled and taken back, and webhooks tell of it.
    The worker is killed in the middle, and the end shows that nothing was paid twice or lost.
    Exits with 0 when that holds, 1 when it does not, 2 when there is no RabbitMQ to be had.
    """
    raise typer.Exit(show(Path.cwd(), keep=keep, machine=Machine.here()))
