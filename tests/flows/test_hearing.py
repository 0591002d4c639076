"""One delivery's way to its withdrawal: what is limited, what is tried again, what is forgotten.

In virtual time; that it is written down before it is answered is shown over HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tests.providers import virtual_time
from worker.flows.hearing import (
    KEPT_FOR,
    SECOND_TRY,
    WAITING_LIMIT,
    WRITE_SECONDS,
    WRITES,
    Hearing,
    Hint,
    Outcome,
)
from worker.flows.ports import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine

_BEGIN: Final = datetime(2026, 6, 1, tzinfo=UTC)


class Notebook:
    """Knows what it is told to know, takes a second for each write, and says what was asked."""

    def __init__(self, *known: str) -> None:
        self.known = {*known}
        self.is_away = False
        self.seconds = 1.0
        self.at_once = 0
        self.at_once_max = 0
        self.old = 0
        self.asked_to_forget: list[tuple[float, datetime]] = []

    async def hear(self, provider: str, digest: bytes, hint: Hint) -> str:
        """Be busy for a while."""
        assert (provider, 32) == ("bluum", len(digest))
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        if self.is_away:
            raise LedgerUnavailable("away")
        return "heard" if self.known & {*hint.ids} else "unknown"

    async def forget_hints(self, before: datetime) -> int:
        """Forget up to two of the old ones."""
        self.asked_to_forget.append((virtual_time.now(), before))
        if self.is_away:
            raise LedgerUnavailable("away")
        forgotten = min(2, self.old)
        self.old -= forgotten
        return forgotten


def test_what_cannot_be_verified_is_forged() -> None:
    """
    Without a scheme, and without having been told to take what is unsigned.
    """

    async def story() -> list[Outcome | None]:
        hearing, _ = _hearing(Notebook("wd_1"), allow_unsigned=False)
        return [hearing.refused({}), await hearing.hear({}, b"wd_1")]

    assert [Outcome.FORGED, Outcome.FORGED] == virtual_time.run(story())


def test_few_are_written_at_once() -> None:
    """
    The payouts share their commits with no more of them; the others wait their turn.
    """
    notebook = Notebook("wd_1")
    notebook.seconds = 0.1

    async def story() -> list[Outcome]:
        hearing, _ = _hearing(notebook)
        return await asyncio.gather(*(hearing.hear({}, b"wd_1") for _ in range(100)))

    assert {Outcome.HEARD} == {*virtual_time.run(story())}
    assert WRITES == notebook.at_once_max


def test_a_ledger_that_is_slow_is_not_waited_for() -> None:
    """
    The provider is told in time to send it again.
    """
    notebook = Notebook("wd_1")
    notebook.seconds = 60.0

    async def story() -> tuple[Outcome, float]:
        hearing, _ = _hearing(notebook)
        return await hearing.hear({}, b"wd_1"), virtual_time.now()

    assert (Outcome.NOT_WRITTEN, WRITE_SECONDS) == virtual_time.run(story())


def test_what_is_unknown_is_tried_once_more() -> None:
    """
    What is known by then is heard late; what is not, or finds no ledger, is given up in silence.
    """
    notebook = Notebook()
    notebook.seconds = 0.0

    async def story() -> dict[Outcome, int]:
        hearing, told = _hearing(notebook)
        await asyncio.gather(*(hearing.hear({}, b"wd_%d" % n) for n in range(WAITING_LIMIT + 5)))
        # The oldest are given up for the newest.
        notebook.known = {"wd_4", "wd_5", f"wd_{WAITING_LIMIT + 4}"}
        await _for_a_while(hearing.run(), SECOND_TRY + timedelta(seconds=10))
        notebook.known = {f"wd_{n}" for n in range(WAITING_LIMIT)}
        await hearing.hear({}, b"wd_x")
        notebook.is_away, notebook.known = True, {"wd_x"}
        await _for_a_while(hearing.run(), SECOND_TRY + timedelta(seconds=10))
        return told

    told = virtual_time.run(story())

    assert {Outcome.UNKNOWN: WAITING_LIMIT + 6, Outcome.HEARD_LATE: 2} == told


def test_the_old_is_forgotten_a_few_at_a_time() -> None:
    """
    Round after round while there are more, then once an hour; a ledger that is away ends nothing.
    """
    notebook = Notebook()
    notebook.old = 5

    async def story() -> None:
        hearing, _ = _hearing(notebook)
        await _for_a_while(hearing.run(), timedelta(hours=1, minutes=1))
        notebook.is_away = True
        await _for_a_while(hearing.run(), timedelta(hours=1))

    virtual_time.run(story())
    times = [round(at) for at, _ in notebook.asked_to_forget]
    limits = {before - (_BEGIN + timedelta(seconds=at)) for at, before in notebook.asked_to_forget}

    assert [0, 1, 2, 3, 3603, 7203] == times
    assert {-KEPT_FOR} == limits


async def _for_a_while(loop: Coroutine[Any, Any, None], wait: timedelta) -> None:
    task = asyncio.create_task(loop)
    await asyncio.sleep(wait.total_seconds())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _hearing(
    notebook: Notebook, *, allow_unsigned: bool = True
) -> tuple[Hearing, Counter[Outcome]]:
    """Hears bodies that are an id and nothing else; with the count of its outcomes."""
    told: Counter[Outcome] = Counter()
    hearing = Hearing(
        "bluum",
        scheme=None,
        allow_unsigned=allow_unsigned,
        read=lambda body: Hint(None, (body.decode(),)),
        ledger=notebook,
        now=lambda: _BEGIN + timedelta(seconds=virtual_time.now()),
        counted=lambda _provider, outcome: told.update([outcome]),
    )
    return hearing, told
