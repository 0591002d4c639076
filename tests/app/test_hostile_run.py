"""Every malformed and hostile message at once, between healthy requests, before a real worker.

Each ends as the table says (`tests/rabbitmq/hostile_messages.py`); none blocks the others, comes
back, or costs the process (contract, P6)."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.app.harness import until
from tests.rabbitmq.hostile_messages import MESSAGES, PAID_BEFORE, NoLetter
from tests.rabbitmq.upstream import upstream
from worker.core.messages import DeadReason
from worker.core.withdrawal import idempotency_key
from worker.rabbitmq.properties import take_apart
from worker.rabbitmq.topology import DEAD_LETTERS, REQUESTS

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk, WorkerProcess
    from tests.rabbitmq.hostile_messages import Hostile
    from tests.rabbitmq.upstream import Found, Upstream
    from worker.simulator.bluum_server import BluumServer

HEALTHY: Final = tuple(f"healthy-{number}" for number in range(30))
BURIED: Final = {
    message.name: message.outcome for message in MESSAGES if isinstance(message.outcome, DeadReason)
}
#: What the statuses of a request may be, in the order in which they come.
PAID: Final = re.compile(r"received( pending)?( processing)?( submitted)? completed")
#: The largest message has 4 MiB; a worker that grows by more than this keeps what it should drop.
GROWTH_MIB: Final = 150
#: One at a time on the one database, many at once on the other.
PREFETCH: Final = {"sqlite": 1, "postgresql": 20}


async def test_hostile_messages_between_healthy_ones(
    desk: Desk, start: Start, server: BluumServer, rabbitmq_vhost: str, migrated_url: str
) -> None:
    """
    Dead letters under their reasons, events as promised, healthy ones paid, each delivered once.

    The process that began it ends it, in good order and not much larger.
    """
    prefetch = PREFETCH[migrated_url.partition(":")[0]]
    worker = await start(migrated_url, WORKER_RABBITMQ__PREFETCH=str(prefetch))
    await desk.ask(PAID_BEFORE)
    await desk.have_ended(1)
    await worker.end(signal.SIGTERM)

    async with upstream(rabbitmq_vhost) as service:
        await _publish_all(desk, service)
        await worker.start()
        await worker.ready()
        before = _peak_mib(worker)
        letters = [await service.dead_letter() for _ in BURIED]
        await until(lambda: _have_ended(desk), lambda: _missing(desk) + worker.output)
        results = await _results(worker)
        growth = _peak_mib(worker) - before
        code = await worker.end(signal.SIGTERM)
        left = {queue: len(await service.rest_of(queue)) for queue in (REQUESTS, DEAD_LETTERS)}

    assert BURIED == {_name(letter): letter.headers["x-reason"] for letter in letters}
    _check_events(desk)
    assert _paid_ids() == _paid_at(server)
    assert len(MESSAGES) + len(HEALTHY) == sum(results.values()), results
    assert {REQUESTS: 0, DEAD_LETTERS: 0} == left
    assert 0 == code, worker.output
    assert "Traceback" not in worker.output
    assert growth < GROWTH_MIB


async def _publish_all(desk: Desk, service: Upstream) -> None:
    """Publish all in an order by chance, which is the same each time."""
    everything: list[Hostile | str] = [*MESSAGES, *HEALTHY]
    random.Random(3).shuffle(everything)  # noqa: S311 - an order, no secret
    for message in everything:
        if isinstance(message, str):
            await desk.ask(message)
        else:
            await service.publish(message.body, message.encoded)


def _ids(outcome: object) -> set[str]:
    """The ids of the messages for which an outcome is expected, so far as they have one."""
    return {m.message_id for m in MESSAGES if m.message_id is not None and m.outcome is outcome}


def _paid_ids() -> set[str]:
    return {PAID_BEFORE, *HEALTHY, *_ids(NoLetter.PAID)}


def _rejected_ids() -> set[str]:
    """What is valid and too late, and what is a dead letter under an id of its own."""
    buried = {m.message_id for m in MESSAGES if isinstance(m.outcome, DeadReason) and m.message_id}
    return buried | _ids(NoLetter.REJECTED)


async def _have_ended(desk: Desk) -> bool:
    return desk.ended() >= _paid_ids() | _rejected_ids()


def _missing(desk: Desk) -> str:
    return f"not ended: {sorted((_paid_ids() | _rejected_ids()) - desk.ended())}\n"


def _check_events(desk: Desk) -> None:
    """Paid are the odd and the healthy; rejected is what has an id; of the rest nobody is told."""
    told = {message_id: desk.statuses(message_id) for message_id in _paid_ids() | _rejected_ids()}

    assert set(told) == {event.message_id for event in desk.heard}
    assert [] == [i for i in _paid_ids() if not PAID.fullmatch(" ".join(told[i]))]
    assert {("rejected",)} == {tuple(told[i]) for i in _rejected_ids()}


def _paid_at(server: BluumServer) -> set[str]:
    """The ids that were paid, by their keys in the provider's record, and each only once."""
    by_key = {idempotency_key(message_id): message_id for message_id in _paid_ids()}
    keys = [effect["idempotency_key"] for effect in server.record()["effects"]]
    assert len(set(keys)) == len(keys)
    return {by_key.get(key, key) for key in keys}


def _name(letter: Found) -> str:
    """Say which message a dead letter was: its id and its body are as they came."""
    return _NAMES[_message_id(letter.properties), letter.body]


def _message_id(encoded: bytes) -> bytes | None:
    return take_apart(encoded).fields.get("message_id")


_NAMES: Final = {(_message_id(m.encoded), m.body): m.name for m in MESSAGES}


async def _results(worker: WorkerProcess) -> dict[str, float]:
    """How many deliveries had which result, as the process counted them."""
    lines = re.findall(
        r'withdrawals_requests_total\{.*result="(\w+)"\} (\S+)', await worker.metrics()
    )
    return {result: sum(float(n) for r, n in lines if r == result) for result, _ in lines}


def _peak_mib(worker: WorkerProcess) -> float:
    """The most memory that the process ever had, in MiB."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024
