"""What a person sees."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from tests.demo.evidence import key_of, paid, together
from worker.demo.audit import Delivery, Effect, Executed, Seen, Sent, audit
from worker.demo.evidence import content_of
from worker.demo.outcome import Outcome
from worker.demo.scenarios import SCENARIOS
from worker.demo.screen import Lines
from worker.demo.story import Story
from worker.demo.summary import addresses, summary
from worker.demo.table import standing, table
from worker.demo.tally import tally
from worker.demo.verdict import Verdict, judge


def row(standing: dict[str, int], **changes: Any) -> Outcome:  # noqa: ANN401 - any field
    """A settled row of the table."""
    plain = Outcome(
        title="Row",
        sent=1,
        withdrawals=0,
        events=0,
        answers=0,
        standing=standing,
        told={},
        filled=(),
        refusals=(),
        hastened=None,
        is_settled=True,
        is_right=True,
    )
    return replace(plain, **changes)


def printed(*parts: object) -> list[str]:
    """The lines on a terminal of 80 columns, without colours."""
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(*parts, sep="\n")
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def a_story() -> Story:
    """A story in which everything was published."""
    story = Story(SCENARIOS)
    for scenario in SCENARIOS:
        for message in scenario.published:
            story.send(Sent(message.name, content_of(message.body)))
    return story


async def test_the_table_fits_a_small_terminal() -> None:
    """
    80 columns and 24 lines, and no title is cut.
    """
    lines = printed(table(a_story()))

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert all(any(scenario.title in line for line in lines) for scenario in SCENARIOS)


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"sent": 1}, "sent"),
        ({"received": 2, "completed": 7, "pending": 1}, "7 completed, 1 pending, 2 received"),
        ({"rejected: not found": 1}, "rejected: not found"),
        ({"dead letter: missing message id": 1}, "dead letter: missing message id"),
        ({"dead letter: message id reused": 1, "completed": 1}, "completed, dead letter"),
        ({"rejected: not found": 1, "rejected: not permitted": 2}, "3 rejected"),
        (
            {"rejected: invalid": 1, "dead letter: malformed": 1, "dead letter: invalid": 1},
            "1 rejected, 2 dead letters",
        ),
        ({"awaiting_funds": 1}, "awaiting funds"),
    ],
)
def test_a_row_tells_where_its_requests_stand(places: dict[str, int], words: str) -> None:
    """
    The furthest first, dead letters last; numbers and reasons only where they tell something.
    """
    assert words == standing(row(places)).plain


def test_a_row_tells_what_is_special_about_it() -> None:
    """
    Answers, sales, refusals, how the end was known; and a wrong end is shouted.
    """
    paid = {"completed": 1}

    assert "completed, 3 answers" == standing(row(paid, answers=3)).plain
    assert "completed, 3 + 2 shares sold" == standing(row(paid, filled=("3", "2"))).plain
    assert "completed, cancel refused" == standing(row(paid, told={"cancel_refused": 1})).plain
    assert "completed, forgery got 401" == standing(row(paid, refusals=(401,))).plain
    assert "completed, by webhook in 2.5 s" == standing(row(paid, hastened=2.54)).plain
    assert "NOT AS EXPECTED" in standing(row({"rejected": 1}, is_right=False)).plain


def test_the_summary_of_a_good_run_says_so() -> None:
    """
    Every promise holds, each with the numbers it rests on.
    """
    effects = (Effect("fill", "sell-a", "ord-1"),) * 2
    delivery = Delivery("order.filled", "ord-1", "delivered")
    seen = together(paid(), Seen(effects=effects, deliveries=(delivery,)))
    lines = printed(summary(verdict_of(seen)))

    assert any("2 fills" in line for line in lines)
    assert any(line.startswith("Webhooks") and "1 delivered" in line for line in lines)
    assert 3 == sum("holds: " in line for line in lines)
    assert any("1 messages: 1 requests and 0 copies; 0 to cancel" in line for line in lines)


def test_the_summary_of_a_bad_run_names_the_breaches() -> None:
    """
    A broken promise is told with who and how; what is too much is counted.
    """
    twice = [Seen(executed=(Executed(key_of(name), "wd-x"),)) for name in "abcdefgh"]
    lines = printed(summary(verdict_of(together(*map(paid, "abcdefgh"), *twice))))

    assert any("BROKEN: a executed more than once" in line for line in lines)
    assert any("and 3 more" in line for line in lines)


def test_lines_hold_no_control_codes() -> None:
    """
    Whatever is said or shown outside a terminal is plain text.
    """
    console = Console(file=io.StringIO(), force_terminal=False, markup=False)
    lines = Lines(console)
    lines.say("[bold]a step[/bold]")
    lines.show(summary(judge(Seen(), [], waiting=0, replays=0)))

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[bold]a step[/bold]" in text
    assert "\x1b" not in text


def test_addresses_can_be_copied() -> None:
    """
    However long an address is, it stands on one line.
    """
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    Lines(console).show("Left running:", addresses({"Ledger": "/folder" * 30, "Logs": "/"}))

    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert ["Left running:", "Ledger           " + "/folder" * 30, "Logs             /"] == lines


def verdict_of(seen: Seen) -> Verdict:
    """The verdict over evidence, without any scenarios."""
    return Verdict(
        tally=tally(seen),
        findings=audit(seen, key_of=key_of),
        missing=(),
        wrong=(),
        waiting=0,
        replays=0,
    )
