"""One delivery's way to its withdrawal: what is limited, what is tried again, what is forgotten.

In virtual time; that it is written down before it is answered is shown over HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.providers import virtual_time
from worker.flows.hearing import (
    KEPT_FOR,
    LINK_SECONDS,
    SECOND_TRY,
    WAITING_LIMIT,
    WRITE_SECONDS,
    WRITES,
    Head,
    Hearing,
    Hint,
    Notice,
    Outcome,
)
from worker.flows.journey import UNTRACED, Untraced
from worker.flows.ports import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence

    from worker.flows.hearing import Network
    from worker.flows.journey import Delivery, Journeys

_BEGIN: Final = datetime(2026, 6, 1, tzinfo=UTC)
_HEAD: Final = Head(method="POST", target="/webhooks/bluum", headers={})
_BAD: Final = Outcome.MALFORMED


class Notebook:
    """Knows what it is told to know, takes a second for each write, and says what was asked."""

    def __init__(self, *known: str) -> None:
        self.known = {*known}
        self.is_away = False
        self.seconds = 1.0
        #: How many events each call told of.
        self.asked: list[int] = []
        self.at_once = 0
        self.at_once_max = 0
        self.old = 0
        self.asked_to_forget: list[tuple[float, datetime]] = []

    async def hear(self, provider: str, notices: Sequence[Notice]) -> list[str]:
        """Be busy for a while."""
        assert {("bluum", 32)} == {(provider, len(notice.digest)) for notice in notices}
        self.asked.append(len(notices))
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        if self.is_away:
            raise LedgerUnavailable("away")
        return ["heard" if self.known & {*notice.ids} else "unknown" for notice in notices]

    async def traces_of(self, provider: str, ids: Collection[str]) -> Sequence[str]:
        """Know none: nobody asks where no traces are wanted."""
        raise AssertionError((provider, ids))

    async def forget_hints(self, before: datetime) -> int:
        """Forget up to two of the old ones."""
        self.asked_to_forget.append((virtual_time.now(), before))
        if self.is_away:
            raise LedgerUnavailable("away")
        forgotten = min(2, self.old)
        self.old -= forgotten
        return forgotten


def test_each_event_of_a_delivery_has_an_outcome_of_its_own() -> None:
    """
    All are counted and those that name anybody are written at once; the answer is the best of them.

    What cannot be read takes nothing from the others, and none of it makes the provider repeat.
    """
    notebook = Notebook("wd_1", "wd_2")
    stories = {
        b"wd_1 wd_9 ? wd_2": (Outcome.HEARD, {Outcome.HEARD: 2, Outcome.UNKNOWN: 1, _BAD: 1}),
        b"wd_9 ?": (Outcome.UNKNOWN, {Outcome.UNKNOWN: 1, _BAD: 1}),
        b"? ?": (Outcome.MALFORMED, {_BAD: 2}),
        b"": (Outcome.UNKNOWN, {Outcome.UNKNOWN: 1}),
        b"not a delivery": (Outcome.MALFORMED, {_BAD: 1}),
    }

    async def story(body: bytes) -> tuple[Outcome, dict[Outcome, int]]:
        hearing, told = _hearing(notebook)
        return await hearing.hear(_HEAD, body), told

    assert stories == {body: virtual_time.run(story(body)) for body in stories}
    assert [3, 1] == notebook.asked


def test_a_delivery_that_is_not_written_is_to_come_again() -> None:
    """
    Whatever else is in it: the ledger confirmed none of it.
    """
    notebook = Notebook("wd_1")
    notebook.is_away = True

    async def story() -> tuple[Outcome, dict[Outcome, int]]:
        hearing, told = _hearing(notebook)
        return await hearing.hear(_HEAD, b"wd_1 ? wd_9"), told

    expected = {Outcome.NOT_WRITTEN: 2, Outcome.MALFORMED: 1}

    assert (Outcome.NOT_WRITTEN, expected) == virtual_time.run(story())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("192.0.2.7", None),
        ("198.51.100.255", None),
        ("2001:db8::1", None),
        ("192.0.2.8", Outcome.FOREIGN),
        ("2001:db9::1", Outcome.FOREIGN),
        (None, Outcome.FOREIGN),
    ],
)
def test_only_those_on_the_list_are_listened_to(
    source: str | None, expected: Outcome | None
) -> None:
    """
    Nobody else, nor one whose address is not known; before anything of theirs is read.
    """
    listed = [ip_network(each) for each in ("192.0.2.7", "198.51.100.0/24", "2001:db8::/32")]

    async def story() -> Outcome | None:
        hearing, _ = _hearing(Notebook(), sources=listed)
        return hearing.refused(replace(_HEAD, source=ip_address(source) if source else None))

    assert expected is virtual_time.run(story())


def test_few_are_written_at_once() -> None:
    """
    The payouts share their commits with no more of them; the others wait their turn.
    """
    notebook = Notebook("wd_1")
    notebook.seconds = 0.1

    async def story() -> list[Outcome]:
        hearing, _ = _hearing(notebook)
        return await asyncio.gather(*(hearing.hear(_HEAD, b"wd_1") for _ in range(100)))

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
        return await hearing.hear(_HEAD, b"wd_1"), virtual_time.now()

    assert (Outcome.NOT_WRITTEN, WRITE_SECONDS) == virtual_time.run(story())


class Telling(Notebook):
    """A notebook that tells of traces in a way of the test's making."""

    def __init__(self, tell: Callable[[], Coroutine[Any, Any, list[str]]]) -> None:
        super().__init__("wd_1")
        self._tell = tell

    async def traces_of(self, _provider: str, ids: Collection[str]) -> Sequence[str]:
        """Tell."""
        assert ["wd_1"] == [*ids]
        return await self._tell()


class Journal(Untraced):
    """What each journey of a delivery was told: its outcome, and the traces it woke."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[str]]] = []

    @contextmanager
    def delivery(self, _provider: str) -> Iterator[Delivery]:  # type: ignore[override]
        """Keep what is told of it."""
        yield _Delivery(self.told)


class _Delivery:
    wants_traces = True

    def __init__(self, told: list[tuple[str, list[str]]]) -> None:
        self._told = told

    def heard(self, outcome: str, traceparents: Sequence[str]) -> None:
        """Be told."""
        self._told.append((outcome, [*traceparents]))


async def _at_once() -> list[str]:
    return ["00-a-b-01"]


async def _never() -> list[str]:
    await asyncio.sleep(60.0)
    return ["00-a-b-01"]


async def _away() -> list[str]:
    raise LedgerUnavailable("away")


async def _broken() -> list[str]:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("tell", "links", "seconds"),
    [
        (_at_once, ["00-a-b-01"], 1.0),
        (_never, [], 1.0 + LINK_SECONDS),
        (_away, [], 1.0),
        (_broken, [], 1.0),
    ],
)
def test_what_is_written_down_is_answered_whatever_becomes_of_its_traces(
    tell: Callable[[], Coroutine[Any, Any, list[str]]], links: list[str], seconds: float
) -> None:
    """
    The provider would take a late answer for none, and send again what lies there already.
    """
    journal = Journal()

    async def story() -> tuple[Outcome, float]:
        hearing, _ = _hearing(Telling(tell), journeys=journal)
        return await hearing.hear(_HEAD, b"wd_1"), virtual_time.now()

    assert (Outcome.HEARD, seconds) == virtual_time.run(story())
    assert [(Outcome.HEARD, links)] == journal.told


def test_what_is_not_genuine_has_no_journey() -> None:
    """
    Whoever reaches the port could push those of payouts out with it.
    """
    journal = Journal()

    async def story() -> Outcome:
        hearing, _ = _hearing(
            Notebook("wd_1"), verifier=_Trusting(Outcome.FORGED), journeys=journal
        )
        return await hearing.hear(_HEAD, b"wd_1")

    assert Outcome.FORGED is virtual_time.run(story())
    assert [] == journal.told


def test_what_is_unknown_is_tried_once_more() -> None:
    """
    What is known by then is heard late; what is not, or finds no ledger, is given up in silence.
    """
    notebook = Notebook()
    notebook.seconds = 0.0

    async def story() -> dict[Outcome, int]:
        hearing, told = _hearing(notebook)
        await asyncio.gather(*(hearing.hear(_HEAD, b"wd_%d" % n) for n in range(WAITING_LIMIT + 5)))
        # The oldest are given up for the newest.
        notebook.known = {"wd_4", "wd_5", f"wd_{WAITING_LIMIT + 4}"}
        await _for_a_while(hearing.run(), SECOND_TRY + timedelta(seconds=10))
        notebook.known = {f"wd_{n}" for n in range(WAITING_LIMIT)}
        await hearing.hear(_HEAD, b"wd_x")
        notebook.is_away, notebook.known = True, {"wd_x"}
        await _for_a_while(hearing.run(), SECOND_TRY + timedelta(seconds=10))
        return told

    told = virtual_time.run(story())

    assert {Outcome.UNKNOWN: WAITING_LIMIT + 6, Outcome.HEARD_LATE: 2} == told
    # All of them at once.
    assert [WAITING_LIMIT, 1, 1] == notebook.asked[WAITING_LIMIT + 5 :]


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


class _Trusting:
    """Takes every delivery for genuine, unless it is told what it is."""

    allows_unsigned = True

    def __init__(self, found: Outcome | None = None) -> None:
        self._found = found

    def of_head(self, head: Head) -> None:
        """Refuse nothing."""

    async def of_whole(self, _head: Head, _body: bytes) -> Outcome | None:
        """Refuse what it is told to."""
        return self._found


def _hearing(
    notebook: Notebook,
    *,
    sources: Collection[Network] = (),
    verifier: _Trusting | None = None,
    journeys: Journeys = UNTRACED,
) -> tuple[Hearing, Counter[Outcome]]:
    """Hears bodies of ids, or of question marks in their place; with the count of outcomes."""
    told: Counter[Outcome] = Counter()
    hearing = Hearing(
        "bluum",
        verifier=verifier or _Trusting(),
        read=_read,
        ledger=notebook,
        now=lambda: _BEGIN + timedelta(seconds=virtual_time.now()),
        counted=lambda _provider, outcome: told.update([outcome]),
        sources=sources,
        journeys=journeys,
    )
    return hearing, told


def _read(body: bytes) -> list[Hint | None] | None:
    words = body.decode().split()
    if "not" in words:
        return None
    return [None if word == "?" else Hint(None, (word,), word) for word in words]
