"""The end of the demo in words and numbers: the summary, and where to find what is left running.

Pure: values in, something to print out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from worker.demo.audit import Promise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.demo.tally import Tally
    from worker.demo.verdict import Verdict

_TITLES: Final[Mapping[Promise, str]] = {
    Promise.NEVER_TWICE: "P1  Never twice",
    Promise.NOTHING_VANISHES: "P2  Nothing vanishes",
    Promise.IN_ORDER: "P3  Events in order",
}
#: So many breaches of one promise are told in full.
_FINDINGS_TOLD: Final = 5
_NAME_WIDTH: Final = 17


def summary(verdict: Verdict) -> Table:
    """Write the summary."""
    counted = verdict.tally
    rows = _rows()
    copies = counted.messages - counted.requests
    rows.add_row(
        "Requests in",
        f"{counted.messages} messages: {counted.requests} requests and {copies} copies; "
        f"{counted.cancels} to cancel",
    )
    rows.add_row(
        "At the provider",
        f"{counted.withdrawals} withdrawals in its record, {verdict.replays} calls were repeats",
    )
    rows.add_row("", _effects(counted.effects))
    rows.add_row("Webhooks", _counts(counted.webhooks))
    rows.add_row("Events", _counts(counted.events))
    rows.add_row("Dead letters", _counts(counted.dead_letters))
    rows.add_row()
    for promise in Promise:
        rows.add_row(_TITLES[promise], _judgement(verdict, promise))
    rows.add_row("As expected", _course(verdict))
    return rows


def addresses(named: Mapping[str, str]) -> Group:
    """Write what was left running, one address a line, however long: they are for copying."""
    lines = (
        Text.assemble((f"{name:<{_NAME_WIDTH}}", "bold"), address, no_wrap=True, overflow="ignore")
        for name, address in named.items()
    )
    return Group(*lines)


def _rows() -> Table:
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True, style="bold")
    rows.add_column()
    return rows


def _counts(counts: Mapping[str, int]) -> str:
    if not counts:
        return "none"
    by_frequency = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kinds = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in by_frequency)
    return f"{sum(counts.values())}: {kinds}"


def _effects(counts: Mapping[str, int]) -> str:
    """Write what else there is in the provider's record: `2 orders, 3 fills, 1 cancel`."""
    kinds = (
        f"{count} {kind.replace('_', ' ')}{'s' * (count > 1)}" for kind, count in counts.items()
    )
    return ", ".join(kinds)


def _judgement(verdict: Verdict, promise: Promise) -> Text:
    findings = verdict.against(promise)
    if not findings:
        return Text("holds: ", style="green").append(_ground(verdict.tally, promise), style="none")
    told = [str(finding) for finding in findings[:_FINDINGS_TOLD]]
    if len(findings) > _FINDINGS_TOLD:
        told.append(f"and {len(findings) - _FINDINGS_TOLD} more")
    return Text("BROKEN: " + "\n".join(told), style="bold red")


def _ground(counted: Tally, promise: Promise) -> str:
    match promise:
        case Promise.NEVER_TWICE:
            return f"{counted.withdrawals} withdrawals, each asked for, executed once"
        case Promise.NOTHING_VANISHES:
            return f"{counted.ended} requests have one end each, {counted.buried} are dead letters"
        case Promise.IN_ORDER:
            return f"no gap, no swap; {counted.repeats} came twice, with the same id"


def _course(verdict: Verdict) -> Text:
    told = [*_troubles(verdict)]
    if not told:
        return Text("yes: ", style="green").append("every row of the table", style="none")
    return Text("NO: " + "\n".join(told), style="bold red")


def _troubles(verdict: Verdict) -> Iterator[str]:
    for title in verdict.missing:
        yield f"{title}: something has not come"
    for title in verdict.wrong:
        yield f"{title}: came out otherwise"
    if verdict.waiting:
        yield f"{verdict.waiting} messages lie in the worker's queues"
