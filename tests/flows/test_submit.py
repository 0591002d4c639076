"""What follows from each answer to a create call: what is committed, told, and tried again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.flows.fakes import Saying
from tests.flows.flaky import Line
from tests.flows.house import PATIENCE, House, die, open_house
from tests.ledger import second
from worker.core.answers import Conflicted, Denied, Refused, Reported, Throttled, Trace, Unclear
from worker.core.withdrawal import Reason, ReasonCode, Status

if TYPE_CHECKING:
    from worker.core.answers import Answer

SECOND = timedelta(seconds=1)
SILENCE = Unclear("timeout")
NO_FUNDS = Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS, "B-1"), Trace(422, "B-1", "r-1", "poor"))
PENDING = Reported("wd_x", Status.PENDING, "pending")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the provider answers one after the other, and what has to come of it.

    `due` is counted from the last answer.
    """

    answers: tuple[Answer, ...]
    outcomes: tuple[str, ...]
    events: tuple[str, ...] = ("received",)
    due: timedelta | None
    slept: tuple[float, ...] = ()
    in_doubt: bool = False
    denied: tuple[str, ...] = ()
    retries: dict[str, int] = field(default_factory=dict)


CASES = {
    "reported": Case(
        answers=(PENDING,),
        outcomes=("reported",),
        events=("received", "pending"),
        due=15 * SECOND,
    ),
    "reported as completed": Case(
        answers=(Reported("wd_x", Status.COMPLETED, "completed"),),
        outcomes=("reported",),
        events=("received", "completed"),
        due=None,
    ),
    "reported with an unknown word": Case(
        answers=(Reported("wd_x", None, "in_review"),),
        outcomes=("reported",),
        due=15 * SECOND,
    ),
    "refused": Case(
        answers=(NO_FUNDS,),
        outcomes=("refused",),
        events=("received", "rejected"),
        due=None,
    ),
    "unclear once": Case(
        answers=(SILENCE, PENDING),
        outcomes=("unclear", "reported"),
        events=("received", "pending"),
        due=15 * SECOND,
        slept=(0.5,),
        retries={"timeout": 1},
    ),
    "unclear twice": Case(
        answers=(SILENCE, Unclear("http_503"), PENDING),
        outcomes=("unclear", "unclear", "reported"),
        events=("received", "pending"),
        due=15 * SECOND,
        slept=(0.5, 1.0),
        retries={"timeout": 1, "http_503": 1},
    ),
    "unclear to the end": Case(
        answers=(SILENCE, SILENCE, SILENCE),
        outcomes=("unclear", "unclear", "unclear"),
        due=2 * SECOND,
        slept=(0.5, 1.0),
        in_doubt=True,
        retries={"timeout": 3},
    ),
    "asked for a patience that is short": Case(
        answers=(Unclear("http_503", 10 * SECOND), PENDING),
        outcomes=("unclear", "reported"),
        events=("received", "pending"),
        due=15 * SECOND,
        slept=(10.0,),
        retries={"http_503": 1},
    ),
    "asked for a patience that is long": Case(
        answers=(Unclear("http_503", 11 * SECOND),),
        outcomes=("unclear",),
        due=11 * SECOND,
        in_doubt=True,
        retries={"http_503": 1},
    ),
    "throttled": Case(
        answers=(Throttled(2 * SECOND), PENDING),
        outcomes=("throttled", "reported"),
        events=("received", "pending"),
        due=15 * SECOND,
        slept=(2.0,),
        retries={"throttled": 1},
    ),
    "throttled for long": Case(
        answers=(Throttled(60 * SECOND),),
        outcomes=("throttled",),
        due=60 * SECOND,
        retries={"throttled": 1},
    ),
    "throttled, then refused": Case(
        # Turned away unexecuted: the refusal that follows is final.
        answers=(Throttled(), NO_FUNDS),
        outcomes=("throttled", "refused"),
        events=("received", "rejected"),
        due=None,
        slept=(1.0,),
        retries={"throttled": 1},
    ),
    "denied": Case(
        answers=(Denied(),),
        outcomes=("denied",),
        due=PATIENCE.denied,
        denied=("bank",),
    ),
    "conflicted": Case(
        answers=(Conflicted(),),
        outcomes=("conflicted",),
        due=PATIENCE.settling,
        in_doubt=True,
    ),
    "unclear, then refused": Case(
        answers=(SILENCE, NO_FUNDS),
        outcomes=("unclear", "refused"),
        due=PATIENCE.settling,
        slept=(0.5,),
        in_doubt=True,
        retries={"timeout": 1},
    ),
    "unclear, then denied": Case(
        answers=(SILENCE, Denied()),
        outcomes=("unclear", "denied"),
        due=PATIENCE.denied,
        slept=(0.5,),
        in_doubt=True,
        denied=("bank",),
        retries={"timeout": 1},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_follows_from_the_answers(house: House, case: Case) -> None:
    """
    Every answer is committed as an attempt; state, events and due time follow from all of them.

    Each call carries the key and the bytes that were committed before the first.
    """
    for answer in case.answers:
        house.bank.say(answer)
    await house.deliver()
    known = await house.known()
    withdrawal = known.held.withdrawal

    committed = (withdrawal.order.idempotency_key, withdrawal.order.body)

    assert [committed] * len(case.outcomes) == [(call.key, call.body) for call in house.bank.calls]
    assert case.outcomes == tuple(attempt["outcome"] for attempt in known.attempts)
    assert list(case.events) == await house.events()
    assert case.due == (withdrawal.due_at and withdrawal.due_at - house.clock.at)
    assert case.in_doubt is withdrawal.in_doubt
    assert case.slept == tuple(house.slept)
    assert list(case.denied) == house.denied
    assert case.retries == house.counted.retries
    assert list(case.events) == [status for _, status in house.counted.changes]
    assert len(case.events) == len(house.told.rows)


async def test_an_unknown_word_is_kept_counted_and_looked_at_again(house: House) -> None:
    """
    It is neither a success nor a failure; the id is ours from now on, and so it was submitted.
    """
    house.bank.say(Reported("wd_x", None, "in_review"))
    await house.deliver()
    withdrawal = (await house.known()).held.withdrawal

    assert (Status.RECEIVED, "wd_x", "in_review") == (
        withdrawal.status,
        withdrawal.withdrawal_id,
        withdrawal.provider_status,
    )
    assert 1 == house.counted.unknown_statuses
    assert [withdrawal.order.message_id] == house.counted.submissions


async def test_what_the_provider_wrote_is_kept_with_the_attempt(house: House) -> None:
    """
    Support asks for it; events carry the code only.
    """
    house.bank.say(NO_FUNDS)
    await house.deliver()
    (attempt,) = (await house.known()).attempts
    bodies = await second.read(house.url, "SELECT body FROM events")

    assert (422, "B-1", "r-1") == (
        attempt["http_status"],
        attempt["provider_code"],
        attempt["request_id"],
    )
    assert [("poor",)] == await second.read(house.url, "SELECT provider_text FROM attempts")
    assert [] == [body for (body,) in bodies if b"poor" in bytes(body)]


async def test_no_try_leaves_after_the_time_limit_of_the_request(house: House) -> None:
    """
    The permit is asked for before each call: between two of them its time may pass.
    """
    not_after = house.clock.at + 3 * SECOND
    house.bank.say(Unclear("http_503", 5 * SECOND))
    await house.deliver(not_after=not_after.isoformat())

    assert [5.0] == house.slept
    assert 1 == len(house.bank.calls)
    assert (await house.known()).held.withdrawal.in_doubt


async def test_a_worker_that_others_think_dead_sends_nothing(house: House) -> None:
    """
    Without a recent sign of life the row may be another's by now: it comes back in a moment.
    """
    house.clock.at = datetime.now(UTC) + timedelta(minutes=1)
    await house.deliver()
    withdrawal = (await house.known()).held.withdrawal

    assert [] == house.bank.calls
    assert house.clock.at + SECOND == withdrawal.due_at
    assert not withdrawal.in_doubt


@pytest.mark.parametrize("line", [Line.CUT_BEFORE, Line.CUT_AFTER])
async def test_an_outcome_that_was_not_recorded_is_asked_for_again(
    house: House, line: Line
) -> None:
    """
    The row is taken up later with the same key, and the provider, which remembers it, repeats.
    """

    async def cut() -> None:
        house.line.line = line

    house.bank.says.append(Saying(pays=True, meanwhile=cut))
    await house.deliver()
    told_while_away = len(house.told.rows)
    house.line.line = Line.WHOLE
    for _ in range(3):
        await house.step()
        house.clock.advance(seconds=1)

    assert 1 == told_while_away
    assert 1 == len(house.bank.paid)
    assert 1 == len({(call.key, call.body) for call in house.bank.calls})
    assert (2 if line is Line.CUT_BEFORE else 1) == len(house.bank.calls)
    assert ["received", "pending"] == await house.events()


async def test_an_outcome_lost_to_another_is_told_by_the_other(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whoever recorded first has told; the second records nothing and tells of nothing.
    """
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:

        async def overtake() -> None:
            await die(house)
            await other.step()

        house.bank.says.append(Saying(pays=True, meanwhile=overtake))
        await house.deliver()

    assert 1 == len(house.bank.paid)
    assert ["received", "pending"] == await house.events()
    assert [("req-1", "received")] == house.counted.changes
    assert [("req-1", "pending")] == other.counted.changes
    assert ["outcome was recorded by another"] == [record.message for record in caplog.records]


async def test_an_id_that_belongs_to_another_request_needs_a_person(house: House) -> None:
    """
    Two keys and one withdrawal: the second is unresolved, and the first as it was.
    """
    await house.deliver("req-1")
    first = await house.known("req-1")
    house.bank.say(Reported("wd_1", Status.PENDING, "pending"))
    await house.deliver("req-2")
    known = await house.known("req-2")

    assert ["received", "unresolved"] == await house.events("req-2")
    assert Reason(ReasonCode.SEVERAL_CANDIDATES) == known.held.withdrawal.reason
    assert known.held.withdrawal.withdrawal_id is None
    assert ["reported"] == [attempt["outcome"] for attempt in known.attempts]
    assert first == await house.known("req-1")


async def test_those_who_are_recorded_beside_it_are_not_harmed(house: House) -> None:
    """
    Of several outcomes that come at once, only the one whose id is taken is set aside.
    """
    await house.deliver("req-0")
    for number in (1, 7, 8):
        house.bank.say(Reported(f"wd_{number}", Status.PENDING, "pending"))
    await asyncio.gather(*(house.deliver(f"req-{number}") for number in (1, 2, 3)))
    statuses = [await house.status(f"req-{number}") for number in (1, 2, 3)]

    assert [Status.PENDING, Status.PENDING, Status.UNRESOLVED] == sorted(statuses)


async def test_while_the_provider_is_out_nothing_is_sent(house: House) -> None:
    """
    The request is written down and untouched, without any doubt, and sent once it is back.
    """
    house.out.add("bank")
    await house.deliver()
    waiting = (await house.known()).held.withdrawal
    calls = len(house.bank.calls)
    house.out.clear()
    house.clock.at += PATIENCE.throttled
    await house.step()

    assert 0 == calls
    assert not waiting.in_doubt
    assert ["received", "pending"] == await house.events()
    assert 1 == len(house.bank.calls)


async def test_an_outage_ends_the_tries(house: House) -> None:
    """
    The second try would only hit a provider that is known to be away.
    """

    async def outage() -> None:
        house.out.add("bank")

    house.bank.says.append(Saying(Unclear("timeout"), meanwhile=outage))
    await house.deliver()

    assert 1 == len(house.bank.calls)
    assert (await house.known()).held.withdrawal.in_doubt
