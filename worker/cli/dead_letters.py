"""`dead-letters`: list, show, replay and drop what nobody could carry out (contract section 4).

Options, one call, an exit code; what the call does stands in `letters_in_hand`. No body is printed
but by `show --body`."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from config.durations import parse_duration
from config.logging import configure_logging
from config.settings import Settings
from worker.cli import letters_in_hand as in_hand
from worker.cli import letters_shown as shown
from worker.cli.kept_letters import KeptLetters
from worker.cli.letters_failing import fail, failing
from worker.cli.settings import FAILED, WRONG_USE, settings_or_exit
from worker.core.replay import REASONS, Plan, Selection
from worker.flows import replay as flow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

#: The share of the provider's rate that a replay takes by itself: the rest is for live requests.
RATE_SHARE: Final = 0.2

dead_letters = typer.Typer(
    name="dead-letters",
    help="Look at the messages that nobody could carry out, replay or drop them.",
    no_args_is_help=True,
)


def _reason(text: str) -> str:
    if text not in REASONS:
        raise typer.BadParameter(f"expected one of {', '.join(REASONS)}")
    return text


def _age(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError:
        raise typer.BadParameter("expected seconds or ISO 8601, such as 90 or PT2H") from None


Ids = Annotated[
    list[str] | None, typer.Option("--id", help="An id from `list`, or a message id; repeatable.")
]
Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", parser=_reason, help=f"{', '.join(REASONS)}; repeatable."),
]
OlderThan = Annotated[
    timedelta | None,
    typer.Option(parser=_age, metavar="DURATION", help="Dead for at least so long (PT2H, P1D)."),
]
NewerThan = Annotated[
    timedelta | None,
    typer.Option(parser=_age, metavar="DURATION", help="Dead for at most so long."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]


@dead_letters.command("list")
def list_(
    *,
    ids: Ids = None,
    reasons: Reasons = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Show at most so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, and count them by reason. Takes none away and prints no body.

    While it runs it holds what it has read: others see those letters again when it is done.
    """
    settings = _settings()
    selection = _selection(ids, reasons, older_than, newer_than)
    with failing():
        asyncio.run(in_hand.list_letters(settings, selection, limit, as_json=as_json))


@dead_letters.command()
def show(
    one: Annotated[str, typer.Argument(metavar="ID", help="An id from `list`, or a message id.")],
    *,
    body: Annotated[
        bool, typer.Option("--body", help="Print the body too. It may hold bank details.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: its properties, what the ledger knows, what a replay would lead to."""
    settings = _settings()
    with failing():
        found = asyncio.run(in_hand.find(settings, Selection(ids=frozenset({one})), with_body=body))
    if not found:
        fail(f"no dead letter has the id or message id {shown.harmless(one)}")
    if len(found) > 1:
        ids = ", ".join(document["id"] for document in found)
        fail(f"{len(found)} dead letters fit, name one by its id: {ids}")
    if as_json:
        typer.echo(json.dumps(found[0], indent=2))
    else:
        _print(found[0])


@dead_letters.command()
def replay(
    *,
    ids: Ids = None,
    reasons: Reasons = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    everything: All = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also what needs a person, if named by --id.")
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=10_000, help="Replays a second; by default a fifth of the rate limit."
        ),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to the queue they came from, after a plan and a question.

    Interrupted, run the same command again: a letter leaves the dead letters only once its message
    is confirmed elsewhere, and the ledger recognises what comes twice.
    """
    settings = _settings()
    selection = _selection(ids, reasons, older_than, newer_than, everything=everything)
    with failing():
        plan = asyncio.run(in_hand.plan(settings, selection, force=force))
    limits = in_hand.limits(settings)
    pace = rate or RATE_SHARE * min(limits[name] for name in plan.calls() or limits)
    if as_json:
        document = shown.document_of_plan(plan, limits, pace)
    else:
        document = {}
        for line in shown.lines_of_plan(plan, limits, pace):
            typer.echo(line)
    outcome, finished = flow.Outcome(), True
    if plan.going and not dry_run:
        _ask(f"Replay {shown.letters(len(plan.going))}?", yes=yes)
        finished = _carry_out(
            lambda told: in_hand.replay(settings, plan, pace, outcome, told), plan, quiet=as_json
        )
    _tell_outcome(plan, outcome, document, finished=finished, dry_run=dry_run, as_json=as_json)


@dead_letters.command()
def drop(
    *,
    because: Annotated[str, typer.Option(help="Why, in your words; it is written down.")],
    operator: Annotated[
        str | None, typer.Option(help="Who you are; by default your name on this machine.")
    ] = None,
    ids: Ids = None,
    reasons: Reasons = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    everything: All = False,
    to: Annotated[
        Path | None,
        typer.Option(help="First write the whole messages to this file, readable by you alone."),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Take dead letters away for good, after a plan and a question.

    Each is told of on standard output before it goes, as a line of JSON without its body: an audit
    trail. All other words go to standard error.
    """
    settings = _settings()
    selection = _selection(ids, reasons, older_than, newer_than, everything=everything)
    name = operator or _own_name()
    if not name.strip() or not because.strip():
        typer.echo("--operator and --because: expected words that tell who and why", err=True)
        raise typer.Exit(WRONG_USE)
    with failing():
        found = asyncio.run(in_hand.select(settings, selection))
    typer.echo(shown.summary_of(Counter(letter.reason for letter in found)), err=True)
    if not found or dry_run:
        return
    _ask(f"Drop {shown.letters(len(found))} for good?", yes=yes)
    signed = {"operator": name, "because": because}
    with failing(), nullcontext() if to is None else KeptLetters(to) as kept:
        dropped = asyncio.run(in_hand.drop(settings, [letter.id for letter in found], signed, kept))
    gone = len(found) - dropped
    typer.echo(f"dropped {dropped}{f', {gone} were gone meanwhile' * (gone > 0)}", err=True)


def _selection(
    ids: list[str] | None,
    reasons: list[str] | None,
    older_than: timedelta | None,
    newer_than: timedelta | None,
    *,
    everything: bool | None = None,
) -> Selection:
    """Gather the options; where `everything` is one of them, something has to be given."""
    selection = Selection(
        ids=frozenset(ids or ()),
        reasons=frozenset(reasons or ()),
        older_than=older_than,
        newer_than=newer_than,
    )
    if everything is not None and everything is (selection != Selection()):
        typer.echo(
            "name the letters by --id, --reason, --older-than, --newer-than, or take --all alone",
            err=True,
        )
        raise typer.Exit(WRONG_USE)
    return selection


def _settings() -> Settings:
    settings = settings_or_exit(need_provider=False)
    configure_logging("CRITICAL", "console")
    return settings


def _carry_out(
    work: Callable[[Callable[[flow.Outcome], None]], Coroutine[Any, Any, None]],
    plan: Plan,
    *,
    quiet: bool,
) -> bool:
    """Run a replay with its progress on a terminal; tell why when it could not be finished."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("replaying", total=len(plan.going))

        def told(now: flow.Outcome) -> None:
            progress.update(task, completed=now.replayed + now.refused)

        try:
            with failing():
                asyncio.run(work(told))
        except (typer.Exit, KeyboardInterrupt):
            return False
    return True


def _tell_outcome(
    plan: Plan,
    outcome: flow.Outcome,
    document: dict[str, Any],
    *,
    finished: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    rest = len(plan.going) - outcome.replayed - outcome.refused
    gone = rest if finished and not dry_run else 0
    if as_json:
        told = {"plan": document, **asdict(outcome), "gone": gone, "finished": finished}
        typer.echo(json.dumps(told, indent=2))
    elif plan.going and not dry_run:
        words = [f"replayed {outcome.replayed}"]
        words += [f"{outcome.refused} refused by the broker"] * (outcome.refused > 0)
        words += [f"{gone} held or taken by somebody else meanwhile"] * (gone > 0)
        typer.echo(", ".join(words))
    if not finished:
        typer.echo(f"interrupted, {rest} left: run the same command again", err=True)
    if not finished or outcome.refused:
        raise typer.Exit(FAILED)


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return ""


def _ask(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere `--yes` has to answer beforehand."""
    if yes:
        return
    if not sys.stdin.isatty():
        typer.echo("nothing done: without a terminal, confirm by --yes", err=True)
        raise typer.Exit(WRONG_USE)
    if not typer.confirm(question, err=True):
        raise typer.Exit(FAILED)


def _print(document: dict[str, Any]) -> None:
    body = document.pop("body", None)
    for name, value in document.items():
        if not isinstance(value, dict):
            typer.echo(f"{name.replace('_', ' '):20} {'-' if value is None else value}")
            continue
        typer.echo(f"\n{name}")
        for inner, found in value.items():
            typer.echo(f"  {inner.replace('_', ' '):30} {'-' if found is None else found}")
    if body is not None:
        typer.echo("\nbody (may hold bank details: do not pass it on)", err=True)
        typer.echo(body)
