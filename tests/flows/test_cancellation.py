"""Cancel messages through the real flows: each has one effect, and none is left unanswered."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest

from tests.flows.fakes import FakeOutbox
from tests.flows.flaky import Line
from tests.flows.house import GRACE, open_house
from tests.flows.waiting import until
from worker.core.answers import Conflicted, Reported
from worker.core.burials import identity
from worker.core.messages import DeadReason, Envelope
from worker.core.withdrawal import Status
from worker.flows.announce import SWEEP_AGE
from worker.flows.cancellation import Cancellation, Unanswered
from worker.flows.ports import LedgerUnavailable, PublishUnconfirmed, PublishUnroutable, StepRefused
from worker.flows.settlement import ACCEPT, Bury, Return
from worker.flows.suspicion import DEATHS_NEEDED, Suspicion

if TYPE_CHECKING:
    from datetime import datetime

    from tests.flows.house import House
    from worker.core.cancellations import Cancel

REFUSED: Final = "withdrawal.cancel_refused"


class Answering:
    """A house's answers to what never came, with the requests' queue as a test wants it."""

    def __init__(self, house: House) -> None:
        self.outbox = FakeOutbox()
        self.waiting: int | None = 0
        self.published: list[str] = []
        self.beats = 0
        #: What becomes of the line to the ledger once an answer was confirmed.
        self.cut = Line.WHOLE
        self.flow = Unanswered(
            ledger=house.line,
            outbox=self.outbox,
            requests_waiting=self._waiting,
            now=house.ledger.now,
            counted=lambda result: house.cancels.update([result]),
            published=self._published,
            beat=self._beat,
            turn_seconds=0.01,
        )
        self._house = house

    @property
    def arrived(self) -> list[dict[str, Any]]:
        """The bodies of the events that arrived."""
        return [json.loads(event.body) for event in self.outbox.arrived]

    async def _waiting(self) -> int | None:
        return self.waiting

    def _published(self, kind: str) -> None:
        self.published.append(kind)
        self._house.line.line = self.cut

    def _beat(self) -> None:
        self.beats += 1


class Refusing:
    """A ledger that refuses the content of every cancellation."""

    async def ask(self, cancel: Cancel, *, waits_until: datetime) -> NoReturn:
        """Refuse it."""
        raise StepRefused(f"{cancel.message_id} {waits_until}")


async def outcomes(house: House, message_id: str = "req-1") -> list[str | None]:
    """What became of the cancellations of a request."""
    return [row["outcome"] for row in await house.ledger.cancellations_of(message_id)]


async def test_a_cancellation_in_time(house: House) -> None:
    """
    The provider is asked once, and the event that says so goes to both who gave a queue.
    """
    outbox = FakeOutbox()
    announce = house.announcer(outbox)
    await house.deliver(reply_to="theirs")
    settled = await house.cancel(reply_to="mine", correlation_id="c-9")
    await house.step()
    announce.stop()
    await announce.run()

    assert ACCEPT == settled
    assert ["received", "pending", "cancelled"] == outbox.told()
    assert ["wd_1"] == house.bank.cancelled
    assert ["cancelled"] == await outcomes(house)
    assert [("theirs", None), ("mine", "c-9")] == [
        (copy.reply_to, copy.correlation_id)
        for copy in outbox.answered
        if copy.type == "withdrawal.cancelled"
    ]
    assert {"taken": 1} == house.cancels


async def test_a_read_that_lags_behind_makes_no_refusal(house: House) -> None:
    """
    The provider cancels, shows it as pending for a moment, and would refuse to cancel it twice.
    """
    await house.deliver()
    await house.cancel()
    house.bank.looks.extend([Reported("wd_1", Status.PENDING, "pending")] * 2)
    await house.step()

    assert ["received", "pending", "cancelled"] == await house.events()
    assert (["wd_1"], 3, [0.5, 1.0]) == (
        house.bank.cancelled,
        len(house.bank.looked),
        house.slept,
    )


async def test_a_no_to_what_an_earlier_call_has_done_is_no_refusal(house: House) -> None:
    """
    Nobody got the answer to a first call, and the second is refused while it still looks pending.
    """
    await house.deliver()
    await house.cancel()
    house.bank.cancels.append(Conflicted())
    house.bank.paid[0].status = Status.CANCELLED
    house.bank.looks.extend([Reported("wd_1", Status.PENDING, "pending")] * 2)
    await house.step()

    assert ["received", "pending", "cancelled"] == await house.events()
    assert [0.5, 1.0] == house.slept


async def test_a_cancellation_by_the_providers_id(house: House) -> None:
    """
    It finds the withdrawal that has this id.
    """
    await house.deliver()
    await house.cancel(withdrawal_id="wd_1")
    await house.step()

    assert ["received", "pending", "cancelled"] == await house.events()


async def test_a_cancellation_too_late(house: House) -> None:
    """
    The answer is an event of the withdrawal, whose end stays as it is.
    """
    await house.deliver()
    await house.move(Status.COMPLETED)
    await house.cancel()
    await house.step()

    assert ["received", "pending", "completed", "cancel_refused"] == await house.events()
    assert (Status.COMPLETED, ["cancel_refused"]) == (await house.status(), await outcomes(house))
    assert [] == house.bank.cancelled


async def test_a_cancellation_that_overtakes_its_request(house: House) -> None:
    """
    The provider never hears of the request.
    """
    await house.cancel()
    settled = await house.deliver()

    assert ACCEPT == settled
    assert ["received", "cancelled"] == await house.events()
    assert ([], ["cancelled"]) == (house.bank.calls, await outcomes(house))
    assert {"early": 1} == house.cancels


async def test_a_cancellation_of_an_invalid_request_is_answered(house: House) -> None:
    """
    Of such a request not even the provider is known, and nobody has to be asked.
    """
    await house.deliver(amount="-1")
    await house.cancel()
    await house.step()

    assert ["rejected", "cancel_refused"] == await house.events()
    assert (["cancel_refused"], 0) == (await outcomes(house), await house.step())


async def test_a_repeated_message_has_one_effect(house: House) -> None:
    """
    Before the answer and after it: the provider is asked once, and one event answers.
    """
    await house.deliver()
    for _ in range(3):
        await house.cancel()
    await house.step()
    await house.cancel(redelivered=True)
    await house.step()

    assert ["received", "pending", "cancelled"] == await house.events()
    assert (["wd_1"], {"taken": 1, "duplicate": 3}) == (house.bank.cancelled, house.cancels)


async def test_the_same_id_with_other_content(house: House) -> None:
    """
    It is told apart, and cancels nothing.
    """
    await house.deliver()
    await house.deliver("req-2")
    await house.cancel()
    settled = await house.cancel(request_message_id="req-2")
    await house.step()

    assert isinstance(settled, Bury)
    assert DeadReason.MESSAGE_ID_REUSED is settled.reason
    assert ["received", "pending"] == await house.events("req-2")


@pytest.mark.parametrize(
    ("message_id", "body", "reason"),
    [
        ("cancel-1", {"amount": "5.00"}, DeadReason.INVALID),
        ("req-1", {"request_message_id": "req-1"}, DeadReason.INVALID),
        (None, {"request_message_id": "req-1"}, DeadReason.MISSING_MESSAGE_ID),
        ("cancel-1", {"withdrawal_id": "x", "provider": "none"}, DeadReason.UNKNOWN_PROVIDER),
    ],
)
async def test_what_cannot_be_carried_out_is_buried(
    house: House, message_id: str | None, body: dict[str, Any], reason: DeadReason
) -> None:
    """
    With its reason; the withdrawal is not touched.
    """
    await house.deliver()
    settled = await house.cancel(message_id, **body)
    await house.step()

    assert isinstance(settled, Bury)
    assert reason is settled.reason
    assert ["received", "pending"] == await house.events()
    assert {reason.value: 1} == house.cancels


async def test_content_that_the_ledger_refuses_is_buried(house: House) -> None:
    """
    It would be refused again and again.
    """
    results: list[str] = []
    cancellation = Cancellation(
        ledger=Refusing(),
        announcer=house.told,
        suspicion=Suspicion(house.line),
        counted=results.append,
        now=house.ledger.now,
        grace=GRACE,
        providers={"bank"},
        default_provider="bank",
        own_queues=frozenset(),
    )
    settled = await cancellation(
        Envelope(body=b'{"request_message_id":"req-1"}', message_id="cancel-1")
    )

    assert isinstance(settled, Bury)
    assert (DeadReason.INVALID, ["invalid"]) == (settled.reason, results)


@pytest.mark.parametrize("line", [Line.CUT_BEFORE, Line.CUT_AFTER])
async def test_without_a_ledger_it_goes_back(house: House, line: Line) -> None:
    """
    Whether or not it was written: when it comes again, it has its one effect.
    """
    await house.deliver()
    house.line.line = line
    settled = await house.cancel()
    house.line.line = Line.WHOLE
    again = await house.cancel(redelivered=True)
    await house.step()

    assert isinstance(settled, Return)
    assert ACCEPT == again
    assert ["received", "pending", "cancelled"] == await house.events()
    assert ["wd_1"] == house.bank.cancelled


async def test_a_message_that_kills_again_and_again_is_buried(house: House) -> None:
    """
    As one of the requests would be.
    """
    body = json.dumps({"request_message_id": "req-1"}).encode()
    for _ in range(DEATHS_NEEDED):
        await house.ledger.mark(identity("cancel-1", body), unmark=())
    settled = await house.cancel(redelivered=True)

    assert isinstance(settled, Bury)
    assert DeadReason.POISON is settled.reason
    assert [] == await outcomes(house)


async def test_what_never_comes_is_answered_once(house: House) -> None:
    """
    After the grace, at the exchange and to whoever asked; never again after that.
    """
    answering = Answering(house)
    await house.cancel(reply_to="mine", correlation_id="c-9")
    house.clock.at += GRACE - timedelta(seconds=1)
    await answering.flow.turn()
    early = list(answering.arrived)
    house.clock.advance(seconds=1)
    for _ in range(3):
        await answering.flow.turn()
        house.clock.at += SWEEP_AGE

    assert [] == early
    (event,) = answering.arrived
    assert (REFUSED, "unknown_request", "req-1", "c-9") == (
        event["type"],
        event["reason"]["code"],
        event["message_id"],
        event["correlation_id"],
    )
    assert [("mine", "c-9")] == [
        (copy.reply_to, copy.correlation_id) for copy in answering.outbox.answered
    ]
    assert ([REFUSED], {"early": 1, "unknown_request": 1}) == (answering.published, house.cancels)


@pytest.mark.parametrize("waiting", [1, None])
async def test_nothing_is_given_up_while_requests_wait(house: House, waiting: int | None) -> None:
    """
    The one that is to be cancelled may be among them; nor when nobody can tell.
    """
    answering = Answering(house)
    answering.waiting = waiting
    await house.cancel()
    house.clock.at += 100 * GRACE
    await answering.flow.turn()
    await house.deliver()
    answering.waiting = 0
    await answering.flow.turn()

    assert [] == answering.arrived
    assert (["received", "cancelled"], []) == (await house.events(), house.bank.calls)


async def test_a_request_that_comes_after_the_answer_is_paid(house: House) -> None:
    """
    It was said that nothing is cancelled.
    """
    answering = Answering(house)
    await house.cancel()
    house.clock.at += GRACE
    await answering.flow.turn()
    await house.deliver()

    assert (1, 1) == (len(answering.arrived), len(house.bank.paid))
    assert ["received", "pending"] == await house.events()


@pytest.mark.parametrize("point", ["give up", "publish", "confirm", "mark", "marked"])
async def test_a_crash_repeats_the_answer_and_never_loses_it(house: House, point: str) -> None:
    """
    Wherever it falls: the next worker says the same, byte by byte, until that is marked.
    """
    crashed = Answering(house)
    await house.cancel()
    house.clock.at += GRACE
    match point:
        case "give up":
            await house.ledger.give_up()
        case "publish":
            crashed.outbox.loses[REFUSED] = 1
            await crashed.flow.turn()
        case "confirm":
            crashed.outbox.swallows[REFUSED] = 1
            await crashed.flow.turn()
        case _:
            crashed.cut = Line.CUT_AFTER if point == "marked" else Line.CUT_BEFORE
            with pytest.raises(LedgerUnavailable):
                await crashed.flow.turn()
    house.line.line = Line.WHOLE
    house.clock.at += SWEEP_AGE
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        answering = Answering(other)
        for _ in range(2):
            await answering.flow.turn()
            house.clock.at += SWEEP_AGE

    bodies = [event.body for event in (*crashed.outbox.arrived, *answering.outbox.arrived)]
    assert 1 == len(set(bodies))
    assert (point != "marked") is bool(answering.outbox.arrived)
    assert 1 >= len(answering.outbox.arrived)


async def test_two_workers_say_the_same(house: House) -> None:
    """
    Of two that answer at once each says what the other says; settled is it once.
    """
    await house.cancel()
    house.clock.at += GRACE
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        both = [Answering(one) for one in (house, other)]
        await asyncio.gather(*(one.flow.turn() for one in both))
        house.clock.at += SWEEP_AGE
        await asyncio.gather(*(one.flow.turn() for one in both))

        assert 1 == house.cancels["unknown_request"] + other.cancels["unknown_request"]
    assert 1 == len({event.body for one in both for event in one.outbox.arrived})


async def test_two_workers_take_one_cancellation(house: House) -> None:
    """
    Delivered to both, it is one, and the provider is asked once.
    """
    await house.deliver()
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        settled = await asyncio.gather(house.cancel(), other.cancel())
        await asyncio.gather(house.step(), other.step())

        assert (ACCEPT, ACCEPT) == tuple(settled)
        assert {"taken": 1, "duplicate": 1} == house.cancels + other.cancels
    assert (["wd_1"], ["cancelled"]) == (house.bank.cancelled, await outcomes(house))


@pytest.mark.parametrize(
    "failure", [PublishUnconfirmed("full"), PublishUnroutable("gone"), RuntimeError("a bug")]
)
async def test_a_copy_that_fails_holds_nobody_up(house: House, failure: Exception) -> None:
    """
    The exchange has every answer, and another's copy arrives.
    """
    answering = Answering(house)
    answering.outbox.replies_fail = failure
    await house.cancel("cancel-1", request_message_id="req-1", reply_to="gone")
    await house.cancel("cancel-2", request_message_id="req-2")
    house.clock.at += GRACE
    for _ in range(8):
        await answering.flow.turn()
        house.clock.at += SWEEP_AGE

    assert {"req-1", "req-2"} == {event["message_id"] for event in answering.arrived}
    assert (failure.args == ("a bug",)) is bool(
        await house.ledger.unanswered(before=house.clock.now())
    )


async def test_the_loop_outlives_the_ledger(house: House) -> None:
    """
    While it is away nothing is said, and afterwards everything.
    """
    answering = Answering(house)
    await house.cancel()
    house.clock.at += GRACE
    house.line.line = Line.CUT_BEFORE
    task = asyncio.create_task(answering.flow.run())
    await until(lambda: answering.beats > 2)
    house.line.line = Line.WHOLE
    await until(lambda: bool(answering.published))
    task.cancel()

    assert [REFUSED] == answering.published
