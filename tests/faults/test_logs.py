"""The search of the logs: a good log, and the same log spoiled in every way."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.demo.evidence import paid
from tests.faults.logs import PRIVATE, log_breaches, trace_of
from worker.demo.audit import ENDS

HEARD: Final = paid("a").heard
GOOD: Final[dict[str, object]] = {
    "time": "2026-06-02T09:00:00.000Z",
    "level": "info",
    "logger": "worker.flows.commit",
    "message": "withdrawal moved",
    "message_id": "a",
    "trace_id": trace_of("a"),
    "status": "completed",
}


def breaches(*lines: str) -> list[str]:
    """What is found in one worker's log."""
    return log_breaches({"worker 0": "\n".join(lines)}, secrets=["s3cr3t"], heard=HEARD)


def test_a_good_log_has_no_breach() -> None:
    """
    Ids, statuses and constant words are what a log may hold.
    """
    assert {"completed"} == {event.status for event in HEARD} & ENDS

    assert [] == breaches(json.dumps(GOOD))
    assert [] == breaches(json.dumps({**GOOD, "status": None, "event": "withdrawal.completed"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"why": f"{PRIVATE} [wd:93456789abcd]"},
        {"detail": "fs_secret_1"},
        {"detail": {"target": "7c1e0d52-0000-5000-8000-000000000000"}},
        {"error": '{"amount": "5.00"}'},
        {"error": "{'funding_source_id': 1}"},
        {"header": "Basic c2ltdWxhdG9yOnNlY3JldA=="},
        {"url": "amqp://guest:guest@localhost"},
        {"why": "with s3cr3t"},
        {"why": "The wallet holds less than that."},
    ],
    ids=str,
)
def test_what_must_not_be_in_it_is_found(changes: dict[str, object]) -> None:
    """
    Wherever it stands, and however it is nested and escaped.
    """
    assert 1 == len([one for one in breaches(json.dumps({**GOOD, **changes})) if "holds" in one])


@pytest.mark.parametrize(
    "line",
    ["Traceback (most recent call last):", '["a list"]', "", json.dumps({"message": "no head"})],
    ids=repr,
)
def test_a_line_that_no_machine_can_read_is_found(line: str) -> None:
    """
    Every line is one JSON object with time, level, logger and message.
    """
    assert breaches(line, json.dumps(GOOD))


@pytest.mark.parametrize(
    "changes", [{"message_id": "b"}, {"trace_id": None}, {"status": "failed"}], ids=str
)
def test_an_end_of_which_no_line_tells_is_found(changes: dict[str, object]) -> None:
    """
    By the id of the request, by its trace, and with the status that was announced.
    """
    assert ["no line tells that a is completed"] == breaches(json.dumps({**GOOD, **changes}))
