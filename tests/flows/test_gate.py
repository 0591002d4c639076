"""Who may close the intake, and who opens it."""

from __future__ import annotations

import asyncio

from worker.flows.gate import Gate


async def test_a_new_gate_is_open() -> None:
    """
    Nobody holds it.
    """
    gate = Gate()

    assert gate.is_open
    assert {} == gate.closed_by


async def test_each_holder_opens_what_it_closed_and_no_more() -> None:
    """
    The gate is open once nobody holds it; until then it says who does, and why.
    """
    gate = Gate()
    await gate.close("ledger", "away")
    await gate.close("credentials", "refused")
    await gate.open("ledger")

    assert not gate.is_open
    assert {"credentials": "refused"} == gate.closed_by
    await gate.open("credentials")
    assert gate.is_open


async def test_closing_again_changes_the_reason_only() -> None:
    """
    One opening takes back any number of closings by the same holder.
    """
    gate = Gate()
    await gate.close("ledger", "away")
    await gate.close("ledger", "locked")

    assert {"ledger": "locked"} == gate.closed_by
    await gate.open("ledger")
    assert gate.is_open


async def test_opening_what_one_does_not_hold_opens_nothing() -> None:
    """
    A stranger has no say.
    """
    gate = Gate()
    await gate.close("ledger", "away")
    await gate.open("somebody else")

    assert not gate.is_open


async def test_who_looks_at_the_holders_cannot_change_them() -> None:
    """
    What is handed out is a copy.
    """
    gate = Gate()
    await gate.close("ledger", "away")
    seen = gate.closed_by
    await gate.open("ledger")

    assert {"ledger": "away"} == seen
    assert gate.is_open


async def test_whoever_waits_is_woken_by_the_change() -> None:
    """
    Several may wait, for either; those whose state holds already do not wait at all.
    """
    gate = Gate()
    await gate.until(is_open=True)
    closed = [asyncio.create_task(gate.until(is_open=False)) for _ in range(2)]
    await gate.close("ledger", "away")
    await asyncio.gather(*closed)
    opened = asyncio.create_task(gate.until(is_open=True))
    await gate.open("ledger")

    await opened


async def test_one_opening_of_two_wakes_nobody() -> None:
    """
    Whoever waits for an open gate goes on waiting while another holder is left.
    """
    gate = Gate()
    await gate.close("ledger", "away")
    await gate.close("credentials", "refused")
    waiting = asyncio.create_task(gate.until(is_open=True))
    await asyncio.sleep(0)
    await gate.open("ledger")
    await asyncio.sleep(0)

    assert not waiting.done()
    await gate.open("credentials")
    await waiting


async def test_a_waiter_that_gives_up_disturbs_nobody() -> None:
    """
    Whoever else waits is woken as before.
    """
    gate = Gate()
    given_up, patient = (asyncio.create_task(gate.until(is_open=False)) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up})
    await gate.close("ledger", "away")

    await patient


async def test_one_that_waits_dutifully_says_so() -> None:
    """
    Only as long as nobody holds the gate for whom waiting is not our duty.
    """
    gate = Gate()
    states = [gate.waits_dutifully]
    await gate.close("outage bank", "fails as a whole", duty=True)
    states.append(gate.waits_dutifully)
    await gate.close("ledger", "away")
    states.append(gate.waits_dutifully)
    await gate.open("ledger")
    states.append(gate.waits_dutifully)
    await gate.open("outage bank")
    states.append(gate.waits_dutifully)

    assert [False, True, False, True, False] == states


async def test_a_narrow_gate_is_open() -> None:
    """
    For one at a time, until the same holder opens it fully or closes it.
    """
    gate = Gate()
    states = []
    for change in (
        gate.close("outage bank", "fails"),
        gate.open("outage bank", narrow=True),
        gate.open("ledger"),
        gate.close("outage bank", "fails"),
        gate.open("outage bank", narrow=True),
        gate.open("outage bank"),
    ):
        await change
        states.append((gate.is_open, gate.is_narrow))

    assert [
        (False, False),
        (True, True),
        (True, True),
        (False, False),
        (True, True),
        (True, False),
    ] == states


async def test_whoever_shows_it_is_told_of_each_change() -> None:
    """
    By the names of all who hold it.
    """
    told: list[frozenset[str]] = []
    gate = Gate(told=told.append)
    await gate.close("ledger", "away")
    await gate.close("outage bank", "fails", duty=True)
    await gate.open("ledger")
    await gate.open("outage bank", narrow=True)

    assert [{"ledger"}, {"ledger", "outage bank"}, {"outage bank"}, set()] == told
