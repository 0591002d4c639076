"""One request message: what is durable before the provider hears of it, and how it is settled."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from tests.flows.fakes import NOW, FakeProvider, Saying, VirtualClock
from tests.flows.flaky import Line
from tests.flows.house import House, an_envelope, house_over, open_house
from tests.ledger import second
from worker.core.answers import Unclear
from worker.core.messages import DeadReason, Envelope
from worker.core.withdrawal import Status, idempotency_key
from worker.flows.settlement import ACCEPT, Bury, Return
from worker.ledger.rows import micros
from worker.ledger.store import open_ledger

_INVALID = {"amount": "-1"}
_HANDED_IN = (
    "SELECT w.idempotency_key, w.body, w.in_doubt, w.first_attempt_at, a.number, a.started_at, "
    "a.outcome, e.type FROM withdrawals w JOIN attempts a ON a.withdrawal = w.id "
    "JOIN events e ON e.withdrawal = w.id"
)


async def test_the_intent_is_committed_before_the_provider_is_called(house: House) -> None:
    """
    A second connection, at the moment of the call, sees key, body, first attempt and event.
    """
    seen: list[Any] = []

    async def look() -> None:
        seen.extend(await second.read(house.url, _HANDED_IN))

    house.bank.says.append(Saying(meanwhile=look))
    settlement = await house.deliver()
    (call,) = house.bank.calls
    key, body, *attempt, event = seen[0]

    assert ACCEPT == settlement
    assert 1 == len(seen)
    assert (call.key, call.body) == (key, bytes(body))
    assert [True, micros(NOW), 1, micros(NOW), None] == attempt
    assert "withdrawal.received" == event


async def test_the_key_is_the_same_in_every_process(house: House) -> None:
    """
    It follows from the message id alone.
    """
    await house.deliver("req-1")

    assert [idempotency_key("req-1")] == [call.key for call in house.bank.calls]


async def test_a_redelivery_changes_nothing(house: House) -> None:
    """
    It is acknowledged without a second call, and its events are offered to be published again.
    """
    await house.deliver()
    before, house.told.rows = await house.known(), []
    house.clock.advance(hours=1)
    settlement = await house.deliver()

    assert ACCEPT == settlement
    assert 1 == len(house.bank.calls)
    assert before == await house.known()
    assert [before.held.row] == house.told.rows
    assert 1 == house.counted.requests["bank", "duplicate"]


async def test_a_redelivery_in_other_white_space_is_the_same_request(house: House) -> None:
    """
    Content counts, not bytes.
    """
    await house.deliver()
    envelope = an_envelope()
    spaced = Envelope(body=envelope.body.replace(b":", b" :  "), message_id="req-1")

    assert ACCEPT == await house.intake(spaced)
    assert 1 == len(house.bank.calls)


async def test_other_content_under_a_known_id_is_buried(house: House) -> None:
    """
    The first request is not touched, no event tells of the second, and nothing is sent for it.
    """
    await house.deliver()
    before, house.told.rows = await house.known(), []
    settlement = await house.deliver(amount="500.01")

    assert isinstance(settlement, Bury)
    assert DeadReason.MESSAGE_ID_REUSED is settlement.reason
    assert before == await house.known()
    assert [] == house.told.rows
    assert 1 == len(house.bank.calls)


async def test_an_invalid_request_is_recorded_and_buried(house: House) -> None:
    """
    It is rejected with an event, nothing is sent; again delivered it is buried again, once told.
    """
    first = await house.deliver(**_INVALID)
    before = await house.known()
    again = await house.deliver(**_INVALID)

    assert isinstance(first, Bury)
    assert DeadReason.INVALID is first.reason
    assert first == again
    assert ["rejected"] == await house.events()
    assert before == await house.known()
    assert [] == house.bank.calls


async def test_an_invalid_request_spends_its_id(house: House) -> None:
    """
    The corrected request under the same id is buried: it needs a new id.
    """
    await house.deliver(**_INVALID)
    corrected = await house.deliver()

    assert isinstance(corrected, Bury)
    assert DeadReason.MESSAGE_ID_REUSED is corrected.reason
    assert [] == house.bank.calls


async def test_an_invalid_request_without_id_is_only_buried(house: House) -> None:
    """
    Nothing could be recorded of it: there is no name to record it under.
    """
    settlement = await house.deliver(None, **_INVALID)

    assert isinstance(settlement, Bury)
    assert DeadReason.MISSING_MESSAGE_ID is settlement.reason
    assert [] == await second.read(house.url, "SELECT id FROM withdrawals")


async def test_a_provider_that_is_not_enabled_is_buried(house: House) -> None:
    """
    The request is rejected, with an event, and lies among the dead letters under its reason.
    """
    settlement = await house.deliver(provider="elsewhere")

    assert isinstance(settlement, Bury)
    assert DeadReason.UNKNOWN_PROVIDER is settlement.reason
    assert ["rejected"] == await house.events()


@pytest.mark.parametrize(
    ("seconds", "status", "calls"),
    [(-1, Status.REJECTED, 0), (0, Status.PENDING, 1), (1, Status.PENDING, 1)],
)
async def test_a_request_that_comes_too_late_is_never_sent(
    house: House, seconds: int, status: Status, calls: int
) -> None:
    """
    Past its not_after it is rejected, and not a dead letter: its outcome is known.
    """
    not_after = house.clock.at + timedelta(seconds=seconds)
    settlement = await house.deliver(not_after=not_after.isoformat())

    assert ACCEPT == settlement
    assert status is await house.status()
    assert calls == len(house.bank.calls)


async def test_without_the_ledger_nothing_is_sent(house: House) -> None:
    """
    The message goes back to the queue, and no create call leaves; later it is taken in.
    """
    house.line.line = Line.CUT_BEFORE
    away = await house.deliver()
    calls_while_away = len(house.bank.calls)
    house.line.line = Line.WHOLE
    back = await house.deliver()

    assert isinstance(away, Return)
    assert 0 == calls_while_away
    assert ACCEPT == back
    assert 1 == len(house.bank.calls)


async def test_a_commit_that_nobody_confirmed_is_not_built_upon(house: House) -> None:
    """
    The message goes back unsent; delivered again it is known, and the ledger goes on with it.
    """
    house.line.line = Line.CUT_AFTER
    away = await house.deliver()
    house.line.line = Line.WHOLE
    again = await house.deliver()
    calls_before_it_is_taken_up = len(house.bank.calls)
    await house.step()

    assert isinstance(away, Return)
    assert ACCEPT == again
    assert 0 == calls_before_it_is_taken_up
    assert 1 == len(house.bank.calls)
    assert ["received", "pending"] == await house.events()


async def test_a_ledger_that_is_locked_for_too_long_counts_as_away(sqlite_url: str) -> None:
    """
    What could not be committed in time goes back to the queue unsent.
    """
    clock = VirtualClock()
    async with (
        open_ledger(sqlite_url, clock=clock, statement_seconds=0.05) as ledger,
        house_over(ledger, sqlite_url, clock) as house,
    ):
        with closing(second.sqlite(sqlite_url)) as other:
            other.execute("BEGIN IMMEDIATE")
            settlement = await house.deliver()
            other.execute("ROLLBACK")

    assert isinstance(settlement, Return)
    assert [] == house.bank.calls


async def test_a_bug_after_the_commit_loses_nothing(house: House) -> None:
    """
    The message has served its purpose: it is acknowledged, and the ledger goes on with it.
    """
    house.bank.say(RuntimeError("a bug of an adapter"), pays=True)
    settlement = await house.deliver()
    status = await house.status()
    await house.step()

    assert ACCEPT == settlement
    assert Status.RECEIVED is status
    assert Status.PENDING is await house.status()
    assert 1 == len(house.bank.paid)
    assert 1 == len({(call.key, call.body) for call in house.bank.calls})


async def test_two_identical_deliveries_at_once_make_one_call(house: House) -> None:
    """
    Both are acknowledged: the second as soon as the first is durable, without waiting for it.
    """
    answering = asyncio.Event()

    async def wait() -> None:
        await answering.wait()

    house.bank.says.append(Saying(meanwhile=wait))
    deliveries = [asyncio.create_task(house.deliver()) for _ in range(2)]
    done, _ = await asyncio.wait(deliveries, return_when=asyncio.FIRST_COMPLETED)
    answering.set()

    assert 1 == len(done)
    assert [ACCEPT, ACCEPT] == await asyncio.gather(*deliveries)
    assert 1 == len(house.bank.calls)
    assert ["received", "pending"] == await house.events()


async def test_twenty_identical_deliveries_at_two_replicas_make_one_call(
    house: House, ledger_url: str
) -> None:
    """
    The ledger alone decides who is first.
    """
    async with open_house(ledger_url, clock=house.clock, bank=house.bank) as other:
        settlements = await asyncio.gather(
            *(replica.deliver() for _ in range(10) for replica in (house, other))
        )

    assert [ACCEPT] * 20 == settlements
    assert 1 == len(house.bank.calls)


async def test_what_was_valid_once_stays_accepted(ledger_url: str) -> None:
    """
    A redelivery after its provider was disabled is acknowledged: not the request has changed.
    """
    clock = VirtualClock()
    other = FakeProvider(clock.now, name="other")
    async with open_house(ledger_url, clock=clock, more={"other": other}) as house:
        await house.deliver(provider="other")
        before = await house.known()
    async with open_house(ledger_url, clock=clock) as house:
        again = await house.deliver(provider="other")

        assert ACCEPT == again
        assert before == await house.known()
        assert [before.held.row] == house.told.rows


async def test_in_work_it_is_held_so_that_nobody_else_begins(house: House) -> None:
    """
    While the provider answers, the follower does not take it up, though it is due.
    """
    taken_up: list[int] = []

    async def take_up() -> None:
        house.clock.advance(seconds=1)
        taken_up.append(await house.step())

    house.bank.says.append(Saying(Unclear("timeout"), meanwhile=take_up))
    await house.deliver()

    assert [0] == taken_up
