"""Credentials that are refused: nothing is taken in, nothing rejected, and it mends by itself.

In virtual time: the pauses are exact and cost nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import pytest

from tests.providers import virtual_time
from worker.flows.credentials import Credentials
from worker.flows.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RETRY = 10.0


class Bank:
    """Answers whether it takes our credentials; `refuses` may be changed at any time."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.hangs = False
        self.is_away = False
        self.tried_at: list[float] = []

    async def try_credentials(self) -> bool | None:
        """Tell it, or say nothing at all."""
        self.tried_at.append(virtual_time.now())
        if self.hangs:
            await asyncio.Event().wait()
        return None if self.is_away else not self.refuses


class Watch:
    """Credentials under watch, with all that they are told and tell."""

    def __init__(self, **banks: Bank) -> None:
        self.gate = Gate()
        self.reports: deque[tuple[bool, str]] = deque()
        self.beats: list[float] = []
        self.credentials = Credentials(
            banks,
            self.gate,
            report=lambda holds, why: self.reports.append((holds, why)),
            beat=lambda: self.beats.append(virtual_time.now()),
        )


def _story(watch: Watch, *steps: Callable[[], Awaitable[None] | None]) -> None:
    """Run the credentials' watch beside some steps, one after the other, in virtual time."""

    async def tell() -> None:
        task = asyncio.create_task(watch.credentials.run())
        for step in steps:
            done = step()
            if done is not None:
                await done
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual_time.run(tell())


def _passing(seconds: float) -> Callable[[], Awaitable[None]]:
    return lambda: asyncio.sleep(seconds)


def test_until_they_were_tried_they_are_not_accepted() -> None:
    """
    Nobody calls a provider before that; after it the report and the gate say yes.
    """
    watch = Watch(bank=Bank())
    states = [watch.credentials.accepted]
    _story(watch, _passing(1), lambda: states.append(watch.credentials.accepted))

    assert [False, True] == states
    assert watch.credentials.tried.is_set()
    assert (True, "accepted") == watch.reports[-1]
    assert watch.gate.is_open


def test_refused_at_the_start_they_close_the_gate_until_they_work() -> None:
    """
    They are tried again and again, and nobody has to restart anything.
    """
    bank = Bank(refuses=True)
    watch = Watch(bank=bank)
    closed: list[object] = []

    def mend() -> None:
        closed.extend([watch.gate.is_open, watch.credentials.accepted, watch.reports[-1]])
        bank.refuses = False

    _story(watch, _passing(25), mend, _passing(RETRY))

    assert [False, False, (False, "refused by bank")] == closed
    assert [0, RETRY, 2 * RETRY, 3 * RETRY] == bank.tried_at
    assert watch.gate.is_open
    assert watch.credentials.accepted
    assert (True, "accepted") == watch.reports[-1]


def test_a_refusal_in_the_middle_closes_the_gate() -> None:
    """
    From the first 401 nothing is taken up; a read of its own confirms it, and the gate closes.
    """
    bank = Bank()
    watch = Watch(bank=bank)
    accepted: list[bool] = []

    def revoke() -> None:
        bank.refuses = True
        watch.credentials.denied("bank")
        accepted.append(watch.credentials.accepted)

    _story(watch, _passing(1), revoke, _passing(1))

    assert [False] == accepted
    assert ["credentials bank"] == list(watch.gate.closed_by)
    assert (False, "refused by bank") == watch.reports[-1]


def test_a_refusal_that_was_none_closes_nothing() -> None:
    """
    One call was refused and the credentials work: everything goes on.
    """
    watch = Watch(bank=Bank())
    _story(watch, _passing(1), lambda: watch.credentials.denied("bank"), _passing(0.001))

    assert watch.gate.is_open
    assert watch.credentials.accepted
    assert [True, True] == [holds for holds, _ in watch.reports]


def test_one_of_two_providers_is_enough_to_close_the_gate() -> None:
    """
    The report names the one that refuses, and only that one is tried again.
    """
    good, bad = Bank(), Bank(refuses=True)
    watch = Watch(good=good, bad=bad)
    _story(watch, _passing(RETRY + 1))

    assert ["credentials bad"] == list(watch.gate.closed_by)
    assert (False, "refused by bad") == watch.reports[-1]
    assert 1 == len(good.tried_at)
    assert 2 == len(bad.tried_at)


def test_a_provider_that_does_not_answer_has_not_refused() -> None:
    """
    A hanging provider delays the start a little, not for as long as it hangs.
    """
    silent = Bank()
    silent.hangs = True
    watch = Watch(silent=silent, talking=Bank())
    _story(watch, _passing(RETRY + 1))

    assert watch.credentials.tried.is_set()
    assert watch.credentials.accepted
    assert watch.gate.is_open


def test_a_silent_provider_is_asked_until_it_answers() -> None:
    """
    Nothing waits for that; then the report is as good as it was ever, and nobody asks any more.
    """
    bank = Bank()
    bank.is_away = True
    watch = Watch(bank=bank)
    open_before: list[bool] = []

    def come_back() -> None:
        open_before.append(watch.gate.is_open)
        bank.is_away = False

    _story(watch, _passing(12), come_back, _passing(60))

    assert [True] == open_before
    assert [0, 5, 10, 15] == bank.tried_at
    assert (True, "accepted") == watch.reports[-1]


def test_what_a_silent_provider_refuses_in_the_end_closes_the_gate() -> None:
    """
    Its first answer is that it does not know us.
    """
    bank = Bank(refuses=True)
    bank.is_away = True
    watch = Watch(bank=bank)

    def come_back() -> None:
        bank.is_away = False

    _story(watch, _passing(1), come_back, _passing(5))

    assert ["credentials bank"] == list(watch.gate.closed_by)
    assert (False, "refused by bank") == watch.reports[-1]


def test_a_refused_provider_that_falls_silent_is_not_refused_any_more() -> None:
    """
    Only 401 is a refusal: its outage is dealt with call by call.
    """
    bank = Bank(refuses=True)
    watch = Watch(bank=bank)

    def fall_silent() -> None:
        bank.hangs = True

    _story(watch, _passing(1), fall_silent, _passing(3 * RETRY))

    assert watch.credentials.accepted
    assert watch.gate.is_open


def test_it_gives_signs_of_life_whatever_the_provider_does() -> None:
    """
    Accepted, refused or hanging: never longer than half a minute without one.
    """
    bank = Bank()
    watch = Watch(bank=bank)

    def refuse() -> None:
        bank.refuses = True
        watch.credentials.denied("bank")

    def hang() -> None:
        bank.hangs = True

    _story(watch, _passing(60), refuse, _passing(60), hang, _passing(60))
    pauses = [later - earlier for earlier, later in zip(watch.beats, watch.beats[1:], strict=False)]

    assert max(pauses) <= 30
    assert watch.beats[-1] > 150


@pytest.mark.parametrize("silence", ["hangs", "is_away"])
def test_a_bank_that_says_nothing_is_named_and_no_reason_to_wait(
    silence: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The gate is open and the report holds; the log names the bank once.
    """
    bank = Bank()
    setattr(bank, silence, True)
    watch = Watch(bank=bank, other=Bank())
    _story(watch, _passing(30))

    assert watch.credentials.accepted
    assert watch.gate.is_open
    assert (True, "not refused; no usable answer when asked: bank") == watch.reports[-1]
    assert ["bank"] == [vars(record)["provider"] for record in caplog.records]
