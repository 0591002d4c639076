"""The worker lives as long as all of its parts do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.ledger import second
from worker.app import until_stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tests.app.conftest import Start
    from tests.app.harness import Desk

    Part = Callable[[], Coroutine[None, None, None]]


async def _lives() -> None:
    await asyncio.Event().wait()


async def _ends() -> None:
    await asyncio.sleep(0)


async def _fails() -> None:
    await asyncio.sleep(0)
    raise RuntimeError("a bug")


async def _is_cancelled() -> None:
    # As a library does that cancels whoever waits for a connection of its own.
    await asyncio.sleep(0)
    raise asyncio.CancelledError


async def _outcome(stop: asyncio.Event, **parts: Part) -> int:
    """What comes of a worker made of some parts."""
    tasks = {name: asyncio.create_task(part()) for name, part in parts.items()}
    stopped = asyncio.create_task(stop.wait())
    try:
        return await asyncio.wait_for(until_stopped(tasks, stopped), 20)
    finally:
        for task in (*tasks.values(), stopped):
            task.cancel()
        await asyncio.gather(*tasks.values(), stopped, return_exceptions=True)


@pytest.mark.parametrize("part", [_ends, _fails, _is_cancelled])
async def test_a_part_that_ends_by_itself_ends_the_worker(
    part: Part, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whether it returned, raised or was cancelled; and it is named.
    """
    code = await _outcome(asyncio.Event(), follow=_lives, announce=part)
    (record,) = caplog.records

    assert 1 == code
    assert ("part failed", "announce") == (record.message, vars(record)["part"])


async def test_the_start_may_be_over(caplog: pytest.LogCaptureFixture) -> None:
    """
    It is the one part that has an end; the worker lives on until it is stopped.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)

    assert 0 == await _outcome(stop, start=_ends, follow=_lives)
    assert [] == caplog.records


async def test_a_start_that_fails_ends_the_worker() -> None:
    """
    Nothing would ever be taken in.
    """
    assert 1 == await _outcome(asyncio.Event(), start=_fails, follow=_lives)


async def test_a_stop_is_a_stop_whatever_fails_afterwards() -> None:
    """
    Asked to stop, it ends with 0.
    """
    stop = asyncio.Event()
    stop.set()

    assert 0 == await _outcome(stop, start=_ends, follow=_lives)


async def test_a_row_that_cannot_be_read_ends_the_process(
    desk: Desk, start: Start, tmp_path: Path
) -> None:
    """
    A ledger in which somebody wrote by hand: exit code 1, and the part that failed is named.
    """
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    worker = await start(ledger, WORKER_SHUTDOWN_TIMEOUT="2")
    await desk.ask("req-1")
    await desk.have_ended(1)
    await second.write(ledger, "UPDATE withdrawals SET status = 'settled', due_at = 1")

    assert 1 == await worker.ended()
    assert '"part failed", "part": "follow ' in worker.output
