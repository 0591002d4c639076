"""The log of a withdrawal's life: a line for each decision, with all by which it is found again."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any, Final

import pytest

from tests.flows.fakes import FakeOutbox
from tests.flows.house import PATIENCE, House, an_envelope
from worker.core.answers import Refused, Unclear
from worker.core.withdrawal import Reason, ReasonCode, idempotency_key

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
IDS: Final = {
    "message_id": "req-1",
    "provider": "bank",
    "idempotency_key": idempotency_key("req-1"),
    "trace_id": TRACE,
}
_BUILT_IN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the worker says, as it is by default."""
    caplog.set_level(logging.INFO, logger="worker")
    return caplog


async def _ask(house: House) -> None:
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    await house.intake(replace(an_envelope(), headers=headers))


def _lines(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return level and message of each line, in order."""
    return [(record.levelname.lower(), record.getMessage()) for record in log.records]


def _fields(log: pytest.LogCaptureFixture, message: str) -> list[dict[str, Any]]:
    """Return what the lines with this message say beside it."""
    return [
        {name: value for name, value in vars(record).items() if name not in _BUILT_IN}
        for record in log.records
        if record.getMessage() == message
    ]


async def test_every_move_has_one_line(house: House, log: pytest.LogCaptureFixture) -> None:
    """
    With the ids of the request, the provider and the trace, and with what moved it.
    """
    await _ask(house)
    (paid,) = house.bank.paid

    assert [("info", "withdrawal moved")] * 2 == _lines(log)
    assert [
        {**IDS, "sequence": 1, "status": "received", "cause": "intake"},
        {
            **IDS,
            "withdrawal_id": paid.withdrawal_id,
            "sequence": 2,
            "status": "pending",
            "previous_status": "received",
            "provider_status": "pending",
            "cause": "create",
        },
    ] == _fields(log, "withdrawal moved")


async def test_a_doubt_is_told_as_one_until_it_ends(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    """
    Each call without an outcome is a warning, each look-up a line, and the end says why.
    """
    house.bank.say(Unclear("timeout"))
    house.bank.say(Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS, "B-1")))
    await _ask(house)
    for _ in range(3):
        house.clock.at += PATIENCE.settling
        await house.step()

    assert [
        ("info", "withdrawal moved"),
        ("warning", "create call undecided"),
        ("warning", "create call undecided"),
        *[("info", "looked up")] * 3,
        ("info", "withdrawal moved"),
    ] == _lines(log)
    first, second = _fields(log, "create call undecided")
    assert {**IDS, "attempt": 1, "answer": "unclear", "why": "timeout"}.items() <= first.items()
    assert {**IDS, "attempt": 2, "answer": "refused"}.items() <= second.items()
    ended = _fields(log, "withdrawal moved")[1]
    assert ("rejected", "insufficient_funds", "B-1", "lookup") == tuple(
        ended[name] for name in ("status", "reason", "provider_code", "cause")
    )


async def test_what_needs_a_person_is_an_error(house: House, log: pytest.LogCaptureFixture) -> None:
    """
    Nothing else of a withdrawal's life is one.
    """
    house.bank.takes_references = False
    house.bank.say(Unclear("timeout"), pays=True)
    house.bank.say(Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS, "B-1")))
    await _ask(house)
    house.bank.paid.append(replace(house.bank.paid[0], withdrawal_id="another"))
    house.clock.at += PATIENCE.settling
    await house.step()

    assert [("error", "withdrawal moved")] == [one for one in _lines(log) if one[0] == "error"]
    assert "unresolved" == _fields(log, "withdrawal moved")[-1]["status"]


async def test_what_changes_nothing_is_told_too(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    """
    A repeated message, a cancellation that is known or comes too late.
    """
    house.bank.say(Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS, "B-1")))
    await _ask(house)
    await _ask(house)
    await house.cancel()
    await house.cancel()
    await house.step()

    assert [
        ("info", "withdrawal moved"),
        ("info", "withdrawal moved"),
        ("info", "request known already"),
        ("info", "cancellation taken"),
        ("info", "cancellation known already"),
        ("info", "cancellation refused"),
    ] == _lines(log)
    assert [{**IDS, "sequence": 2, "status": "rejected"}] == _fields(log, "request known already")
    assert [{"message_id": "cancel-1", "request_message_id": "req-1", "early": False}] == _fields(
        log, "cancellation taken"
    )


async def test_a_move_that_nobody_could_tell_of_is_told_by_who_announces_it(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    """
    Who committed it may have died in that very moment; its events are found, and so is the line.
    """
    await _ask(house)
    log.clear()
    outbox = FakeOutbox()
    announce = house.announcer(outbox)
    # It is found at the start, told of by nobody.
    announcing = asyncio.create_task(announce.run())
    announce.stop()
    await announcing

    assert [
        {"message_id": "req-1", "trace_id": TRACE, "sequence": number, "event": event}
        for number, event in ((1, "withdrawal.received"), (2, "withdrawal.pending"))
    ] == _fields(log, "event was found unpublished")
