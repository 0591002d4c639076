"""All commands, gathered (contract section 8)."""

from __future__ import annotations

import typer

from worker.cli import asyncapi, cancel, check, demo, reconcile, resolve, run, show, submit
from worker.cli.dead_letters import dead_letters
from worker.cli.list import list_
from worker.cli.simulate import simulate
from worker.cli.simulate_upvest import HELP as UPVEST_HELP
from worker.cli.simulate_upvest import simulate_upvest
from worker.cli.webhooks import webhooks

app = typer.Typer(
    name="withdrawals-worker",
    help="Pays out withdrawal requests from RabbitMQ through a provider, once and only once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run.run)
app.command()(demo.demo)
app.command()(check.check)
app.command()(run.migrate)
app.command()(submit.submit)
app.command()(cancel.cancel)
app.command()(show.show)
app.command("list")(list_)
app.command()(resolve.resolve)
app.command()(reconcile.reconcile)
app.add_typer(dead_letters)
app.add_typer(webhooks)
simulate.command(name="upvest", help=UPVEST_HELP)(simulate_upvest)
app.add_typer(simulate)
app.command()(asyncapi.asyncapi)


def main() -> None:
    """Run the command line; never returns."""
    app()
