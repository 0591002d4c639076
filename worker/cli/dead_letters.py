"""`dead-letters`: list, show, replay and drop what nobody could carry out (contract section 4).

Options, one call, an exit code; what a replay leads to is forecast in the core, its steps stand in
the flow. No body is printed but by `show --body`."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from config.durations import parse_duration
from config.logging import configure_logging
from config.settings import Settings
from worker.app import SHAPES, broker_of
from worker.cli import letters_shown as shown
from worker.cli.kept_letters import KeptLetters, KeptUnsafe
from worker.cli.settings import FAILED, WRONG_USE, failing, settings_or_exit
from worker.core.cancellations import read_cancel
from worker.core.events import moment
from worker.core.messages import read
from worker.core.replay import REASONS, Asks, Forecaster, Known, Letter, Plan, Selection
from worker.flows import replay as flow
from worker.flows.ports import LedgerUnavailable, PublishUnconfirmed, PublishUnroutable
from worker.ledger.migrate import SchemaOutdated, require_schema
from worker.ledger.store import Ledger, open_ledger
from worker.rabbitmq import failures
from worker.rabbitmq.graveyard import Grave, open_graveyard
from worker.rabbitmq.publisher import Publisher
from worker.rabbitmq.topology import OWN_QUEUES, TopologyUnsafe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

    from worker.core.messages import Envelope
    from worker.core.replay import Reading

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
    with _failing():
        asyncio.run(_list(settings, selection, limit, as_json=as_json))


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
    with _failing():
        found = asyncio.run(_find(settings, Selection(ids=frozenset({one})), with_body=body))
    if not found:
        _fail(f"no dead letter has the id or message id {shown.harmless(one)}")
    if len(found) > 1:
        ids = ", ".join(document["id"] for document in found)
        _fail(f"{len(found)} dead letters fit, name one by its id: {ids}")
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
    with _failing():
        plan = asyncio.run(_plan(settings, selection, force=force))
    limits = _limits(settings)
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
            lambda told: _replay(settings, plan, pace, outcome, told), plan, quiet=as_json
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
    with _failing():
        found = asyncio.run(_select(settings, selection))
    typer.echo(shown.summary_of(Counter(letter.reason for letter in found)), err=True)
    if not found or dry_run:
        return
    _ask(f"Drop {shown.letters(len(found))} for good?", yes=yes)
    signed = {"operator": name, "because": because}
    with _failing(), nullcontext() if to is None else KeptLetters(to) as kept:
        dropped = asyncio.run(_drop(settings, [letter.id for letter in found], signed, kept))
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


async def _list(
    settings: Settings, selection: Selection, limit: int | None, *, as_json: bool
) -> None:
    """Print each letter as soon as it is read: however many there are, none is kept."""
    by_reason: Counter[str] = Counter()
    now = _now()
    _say('{"dead_letters": [' if as_json else shown.HEADING)
    async with open_graveyard(broker_of(settings)) as graveyard:
        while limit is None or by_reason.total() < limit:
            grave = await graveyard.next()
            if grave is None:
                break
            letter = grave.letter
            if not selection.takes(letter, now=now):
                continue
            if as_json:
                comma = "," if by_reason else ""
                _say(f"{comma}{json.dumps(shown.document_of(letter, now=now))}")
            else:
                _say(shown.line_of(letter, now=now))
            by_reason[letter.reason] += 1
    if as_json:
        counts = json.dumps(dict(sorted(by_reason.items())))
        _say(f'], "total": {by_reason.total()}, "by_reason": {counts}}}')
    else:
        _say(f"\n{shown.summary_of(by_reason)}")


async def _select(settings: Settings, selection: Selection) -> list[Letter]:
    found, now = [], _now()
    async with open_graveyard(broker_of(settings)) as graveyard:
        while (grave := await graveyard.next()) is not None:
            if selection.takes(grave.letter, now=now):
                found.append(grave.letter)
    return found


async def _find(
    settings: Settings, selection: Selection, *, with_body: bool
) -> list[dict[str, Any]]:
    found, now = [], _now()
    async with open_graveyard(broker_of(settings)) as graveyard:
        while (grave := await graveyard.next()) is not None:
            if selection.takes(grave.letter, now=now):
                found.append(await _document(settings, grave, now, with_body=with_body))
    return found


async def _document(
    settings: Settings, grave: Grave, now: datetime, *, with_body: bool
) -> dict[str, Any]:
    envelope = grave.envelope()
    message = None if envelope is None else _understand(settings)(grave.letter, envelope)
    message_id = None if message is None else message.context.message_id
    is_request = grave.letter.asks is not Asks.CANCELLATION
    document = shown.document_of(grave.letter, now=now)
    document["properties"] = shown.properties_of(grave.properties)
    try:
        known = await _known(settings, message_id) if is_request else None
        cancelled = None if is_request else await _cancellation(settings, message_id)
    except (LedgerUnavailable, SchemaOutdated) as error:
        document["ledger"] = {"error": str(error)}
    else:
        forecast = Forecaster()(grave.letter, message, known, now=now)
        document["ledger"] = shown.known_of(known) if is_request else shown.taken_of(cancelled)
        document["replay"] = {"prospect": forecast.prospect.value, "why": forecast.why}
    if with_body:
        document["body"] = shown.harmless(grave.body.decode(errors="surrogateescape"))
    return document


async def _known(settings: Settings, message_id: str | None) -> Known | None:
    if message_id is None:
        return None
    async with _reading(settings) as ledger:
        return (await ledger.known([message_id])).get(message_id)


async def _cancellation(settings: Settings, message_id: str | None) -> Mapping[str, Any] | None:
    if message_id is None:
        return None
    async with _reading(settings) as ledger:
        return await ledger.cancellation(message_id)


async def _plan(settings: Settings, selection: Selection, *, force: bool) -> Plan:
    async with _reading(settings) as ledger, open_graveyard(broker_of(settings)) as graveyard:
        return await flow.plan(
            graveyard,
            ledger,
            selection=selection,
            force=force,
            understand=_understand(settings),
            now=_now,
        )


async def _replay(
    settings: Settings,
    plan: Plan,
    rate: float,
    outcome: flow.Outcome,
    told: Callable[[flow.Outcome], None],
) -> None:
    publisher = Publisher(broker_of(settings), report=lambda _holds, _detail: None)
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(_writing(settings))
        await stack.enter_async_context(_running(publisher))
        graveyard = await stack.enter_async_context(
            open_graveyard(broker_of(settings), publisher=publisher)
        )
        await flow.replay(
            graveyard, plan.going, outcome=outcome, turn=_Turns(rate), told=told, books=ledger
        )


async def _drop(
    settings: Settings, ids: list[str], signed: dict[str, str], kept: KeptLetters | None
) -> int:
    def keep(grave: flow.Grave) -> None:
        if kept is not None:
            kept.add(grave)
        told = shown.document_of(grave.letter, now=_now()) | {"dropped_at": moment(_now())} | signed
        _say(json.dumps(told))

    async with _writing(settings) as ledger, open_graveyard(broker_of(settings)) as graveyard:
        return await flow.drop(graveyard, ids, keep=keep, books=ledger)


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
            with _failing():
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


def _understand(settings: Settings) -> Callable[[Letter, Envelope], Reading]:
    """Read as a worker with these settings would; without credentials, as one with all of them."""
    enabled = {name: shape for name, shape in SHAPES.items() if getattr(settings, name).enabled}
    shapes, default = enabled or SHAPES, settings.default_provider

    def understand(letter: Letter, envelope: Envelope) -> Reading:
        if letter.asks is Asks.CANCELLATION:
            return read_cancel(
                envelope, providers=shapes, default_provider=default, own_queues=OWN_QUEUES
            )
        return read(envelope, shapes=shapes, default_provider=default, own_queues=OWN_QUEUES)

    return understand


def _limits(settings: Settings) -> dict[str, float]:
    return {name: float(getattr(settings, name).rate_limit) for name in SHAPES}


class _Turns:
    """Lets one through at a time, `rate` a second and never faster after a pause."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._next_at = 0.0

    async def __call__(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._next_at - loop.time()))
        self._next_at = max(self._next_at, loop.time() - self._gap) + self._gap


@asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[Ledger]:
    url = settings.ledger.url.get_secret_value()
    await require_schema(url)
    ledger = Ledger(url)
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def _writing(settings: Settings) -> AsyncIterator[Ledger]:
    url = settings.ledger.url.get_secret_value()
    await require_schema(url)
    async with open_ledger(url) as ledger:
        try:
            yield ledger
        finally:
            # What was counted under this command's name goes to the common account.
            await ledger.leave()


@asynccontextmanager
async def _running(publisher: Publisher) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def _failing() -> Iterator[None]:
    """Turn what can go wrong outside of us into one sentence and exit code 1."""
    with failing():
        try:
            yield
        except typer.Exit:
            # A RuntimeError, as some of the library's failures are.
            raise
        except TopologyUnsafe as unsafe:
            _fail(f"the dead letters cannot be read safely: {unsafe}")
        except KeptUnsafe as unsafe:
            _fail(str(unsafe))
        except PublishUnroutable as error:
            _fail(f"no queue takes what is replayed: {error} (start the worker once to declare it)")
        except PublishUnconfirmed as error:
            _fail(f"the broker did not confirm: {error}")
        except _Unheard:
            raise typer.Exit(FAILED) from None
        except failures.AWAY as error:
            _fail(
                f"the broker cannot be reached: {failures.in_words(error)} (WORKER_RABBITMQ__URL)"
            )


class _Unheard(Exception):  # noqa: N818 - named by what happened
    """Standard output is closed: nobody hears what is said."""


def _say(words: str) -> None:
    """Print a line at once. Raises _Unheard."""
    try:
        typer.echo(words)
    except OSError:
        raise _Unheard from None


def _fail(words: str) -> NoReturn:
    typer.echo(words, err=True)
    raise typer.Exit(FAILED) from None


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


def _now() -> datetime:
    return datetime.now(UTC)
