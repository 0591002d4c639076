"""The run as a table: what was asked, what the provider executed, where it stands.

Pure: a story in, something to print out. Fits 80 columns and 24 lines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from worker.demo.audit import ENDS
from worker.demo.outcome import CANCEL_REFUSED, DEAD_LETTER, SENT, TAKEN_BACK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from worker.demo.outcome import Outcome
    from worker.demo.story import Story

#: Places in the order of a request's way, the furthest last.
_WAY: Final = (
    SENT,
    "received",
    "raising_cash",
    "awaiting_funds",
    "pending",
    "processing",
    "submitted",
    "failed",
    "completed",
)
_COLOURS: Final[Mapping[str, str]] = {
    SENT: "dim",
    "received": "cyan",
    "raising_cash": "cyan",
    "awaiting_funds": "cyan",
    "pending": "blue",
    "processing": "blue",
    "completed": "green",
    "failed": "yellow",
    "cancelled": "yellow",
    TAKEN_BACK: "yellow",
    "rejected": "yellow",
    DEAD_LETTER: "magenta",
}


def table(story: Story) -> RenderableType:
    """Draw the story as it stands."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    drawn.add_column("What was asked", width=24, no_wrap=True)
    drawn.add_column("Sent", width=4, justify="right")
    drawn.add_column("Executed", width=8, justify="right")
    drawn.add_column("Events", width=6, justify="right")
    drawn.add_column(" Where it stands", width=33, no_wrap=True, overflow="ellipsis")
    outcomes = story.outcomes
    for found in outcomes:
        drawn.add_row(
            Text(found.title, style="" if found.sent else "dim"),
            _number(found.sent),
            _number(found.withdrawals),
            _number(found.events),
            Text(" ").append(standing(found)),
        )
    return Group(drawn, _progress(story, outcomes))


def standing(found: Outcome) -> Text:
    """Write where the requests of a scenario stand: the furthest first, dead letters last."""
    places = found.standing
    if len(places) > 1:
        # A reason is told where there is room for it: the summary has them all.
        places = Counter[str]()
        for place, count in found.standing.items():
            places[place.partition(":")[0]] += count
    is_single = all(count == 1 for count in places.values())
    words = [
        Text(place.replace("_", " ") if is_single else _counted(place, count), style=_colour(place))
        for place, count in sorted(places.items(), key=lambda place: -_distance(place[0]))
    ]
    words += map(Text, _besides(found))
    if found.is_settled and not found.is_right:
        words.append(Text("NOT AS EXPECTED", style="bold red"))
    return Text(", ").join(words)


def _counted(place: str, count: int) -> str:
    plural = "s" if place == DEAD_LETTER and count > 1 else ""
    return f"{count} {place.replace('_', ' ')}{plural}"


def _besides(found: Outcome) -> Iterator[str]:
    """Write what there is to be told of a scenario besides where its requests stand."""
    if found.answers:
        yield f"{found.answers} answer{'s' * (found.answers > 1)}"
    if found.filled:
        yield f"{' + '.join(found.filled)} shares sold"
    if found.told.get(CANCEL_REFUSED):
        yield "cancel refused"
    for status in found.refusals:
        yield f"forgery got {status}"
    if found.hastened is not None:
        yield f"by webhook in {found.hastened:.1f} s"


def _progress(story: Story, outcomes: list[Outcome]) -> Text:
    statuses = Counter(story.statuses.values())
    ended = sum(count for status, count in statuses.items() if status in ENDS)
    requests = sum(found.sent for found in outcomes)
    executed = sum(found.withdrawals for found in outcomes)
    events = sum(found.events for found in outcomes)
    return Text(
        f" {story.seconds:.0f} s: {requests} messages, {ended} requests ended, "
        f"{executed} withdrawals executed, {events} events",
        style="bold",
    )


def _number(count: int) -> Text:
    return Text(str(count), style="" if count else "dim")


def _distance(place: str) -> int:
    if place.startswith(DEAD_LETTER):
        return -1
    return _WAY.index(place) if place in _WAY else len(_WAY)


def _colour(place: str) -> str:
    return _COLOURS.get(place.partition(":")[0], "")
