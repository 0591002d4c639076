"""`withdrawals-worker simulate`: run a local stand-in for a provider until a signal ends it.

Options become values here and nowhere else. Credentials are never printed."""

from __future__ import annotations

import asyncio
import signal
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

import typer

from worker.simulator.bluum_server import BluumOptions, serve
from worker.simulator.bluum_terms import ReplayAnswer, Terms
from worker.simulator.clock import seconds
from worker.simulator.faults import SHARES, Faults, Reach, read_faults

_FAILED: Final = 1
_DAY: Final = 86_400.0

#: `\b` keeps the lines of the paragraph it opens as they are.
_BLUUM_HELP: Final = """Simulate the Bluum API (investor-scoped) until a signal ends it.

Investors need no registration: every id that begins with inv_ has
wallets in USD, EUR, NGN, KES and GBP. Some ids have a meaning of their
own, by their beginning:

\b
  inv_unknown...   does not exist (404)
  inv_poor...      opens with 1.00 of each currency
  inv_blocked...   is not approved: create calls are refused (403)
  inv_failing...   every withdrawal ends failed, with a reason
  fs_inactive...   an inactive funding source (400); any other fs_ id is fine

\b
Example:
  curl -u simulator-key:simulator-secret -H 'Idempotency-Key: wd-1' \\
    -d '{"amount":"25.00","method":"ach","funding_source_id":"fs_1"}' \\
    http://127.0.0.1:8900/v1/investors/inv_1/withdrawals

\b
Control calls, without a password:
  GET  /_simulator/record       every effect on money, and counters
  GET  /_simulator/faults       PUT replaces them: {"drop_after": 0.1}
  PUT  /_simulator/credentials  {"revoked": true}
  POST /_simulator/clock        {"advance_seconds": 86400}
  GET  /_simulator/healthz
"""

simulate = typer.Typer(
    name="simulate",
    help="Run a local stand-in for a provider's API, to develop against.",
    no_args_is_help=True,
)


@simulate.callback()
def simulate_group() -> None:
    """Run a local stand-in for a provider's API, to develop against."""


@simulate.command(name="bluum", help=_BLUUM_HELP)
def simulate_bluum(
    *,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. The control calls need no password: stay local."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 8900,
    api_key: Annotated[
        str, typer.Option(help="User of HTTP Basic authentication.")
    ] = BluumOptions().api_key,
    api_secret: Annotated[
        str, typer.Option(help="Password of HTTP Basic authentication.")
    ] = BluumOptions().api_secret,
    rate_limit: Annotated[
        int,
        typer.Option(
            min=0, help="Calls a second; 0 for no limit. Production allows 25, the sandbox 10."
        ),
    ] = 25,
    latency: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time before a call takes effect.")
    ] = 0.02,
    pace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Time from pending to processing, and again from there to the end.",
        ),
    ] = 2.0,
    failure_share: Annotated[
        float, typer.Option(help="Share of the withdrawals that end failed, 0 to 1.")
    ] = 0.0,
    opening_balance: Annotated[
        str, typer.Option(metavar="AMOUNT", help="What every wallet of an investor opens with.")
    ] = "1000000.00",
    key_lifetime: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Time after which an idempotency key is forgotten and executes again.",
        ),
    ] = _DAY,
    replay_answer: Annotated[
        ReplayAnswer,
        typer.Option(help="What a repeated key with the same body gets: the response, or a 409."),
    ] = ReplayAnswer.ORIGINAL,
    seed: Annotated[
        str, typer.Option(help="Seed of all chance: ids, jitter, failures and faults.")
    ] = "0",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=SHARE",
            help="A fault and its share of calls, 0 to 1; repeatable. Kinds: "
            + ", ".join(SHARES)
            + ".",
        ),
    ] = None,
    fault_calls: Annotated[
        Reach, typer.Option(help="Which calls the shares are shares of.")
    ] = Reach.CREATES,
    outage: Annotated[
        bool, typer.Option("--outage", help="Answer every call with 503 until switched off.")
    ] = False,
) -> None:
    """Serve the simulated API of Bluum; exit 0 on a signal, 1 when the port is taken."""
    try:
        options = BluumOptions(
            host=host,
            port=port,
            api_key=api_key,
            api_secret=api_secret,
            rate_limit=rate_limit,
            latency=seconds(latency, name="latency"),
            terms=Terms(
                opening_balance=_money(opening_balance),
                pace=seconds(pace, name="pace"),
                failure_share=failure_share,
                key_lifetime=seconds(key_lifetime, name="key_lifetime"),
                replay_answer=replay_answer,
                seed=seed,
            ),
            faults=_faults(fault or [], calls=fault_calls, outage=outage),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        asyncio.run(_serve_until_signal(options))
    except OSError as error:
        typer.echo(f"cannot listen on {host}:{port}: {error.strerror}", err=True)
        raise typer.Exit(_FAILED) from None


async def _serve_until_signal(options: BluumOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serve(options) as server:
        typer.echo(f"Bluum simulator listening on {server.base_url}")
        await stop.wait()


def _money(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"opening_balance: an amount of money, not {text!r}") from None


def _faults(pairs: list[str], *, calls: Reach, outage: bool) -> Faults:
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
