"""The books learn of a dead letter before the broker does, and a message waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rabbitmq.at_work import at_work
from tests.rabbitmq.upstream import upstream
from worker.core.messages import DeadReason
from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.flows.settlement import Bury, Settlement
from worker.rabbitmq.topology import DEAD_LETTERS, REQUESTS

if TYPE_CHECKING:
    from tests.rabbitmq.upstream import Upstream
    from worker.core.messages import Envelope


async def _bury(_: Envelope) -> Settlement:
    return Bury(DeadReason.INVALID, "amount: expected more than 0")


class Clerk:
    """Keeps the books; looks into the dead letters' queue when a burial is noted.

    `raises` are raised one by one, as long as there are any.
    """

    def __init__(self, service: Upstream, *raises: Exception) -> None:
        self._service = service
        self._raises = list(raises)
        self.noted: list[tuple[Envelope, DeadReason]] = []
        self.lay_there: list[int] = []

    async def __call__(self, envelope: Envelope, reason: DeadReason) -> None:
        """Be told."""
        self.noted.append((envelope, reason))
        self.lay_there.append(await self._service.ready_in(DEAD_LETTERS))
        if self._raises:
            raise self._raises.pop(0)


async def test_it_is_noted_before_it_is_published(rabbitmq_vhost: str) -> None:
    """
    With all that was read of it, and the reason; a crash in between finds it in the books.
    """
    async with upstream(rabbitmq_vhost) as service:
        clerk = Clerk(service)
        async with at_work(rabbitmq_vhost, _bury, note_burial=clerk) as work:
            await service.request("r-1", b"body")
            letter = await service.dead_letter()
        rest = await service.rest_of(REQUESTS)

    ((envelope, reason),) = clerk.noted
    assert (b"body", "r-1", False) == (envelope.body, envelope.message_id, envelope.redelivered)
    assert DeadReason.INVALID is reason
    assert [0] == clerk.lay_there
    assert b"body" == letter.body
    assert [] == rest
    assert [DeadReason.INVALID] == work.buried


async def test_it_goes_back_while_the_books_are_away(rabbitmq_vhost: str) -> None:
    """
    Nothing is published that is not counted; it comes again, marked, and is buried then.
    """
    async with upstream(rabbitmq_vhost) as service:
        clerk = Clerk(service, LedgerUnavailable("away"))
        async with at_work(rabbitmq_vhost, _bury, note_burial=clerk) as work:
            await service.request("r-1")
            await service.dead_letter()
        rest = await service.rest_of(DEAD_LETTERS)

    assert [False, True] == [envelope.redelivered for envelope, _ in clerk.noted]
    assert [0, 0] == clerk.lay_there
    assert [] == rest
    assert [DeadReason.INVALID] == work.buried


async def test_what_cannot_be_counted_is_buried_all_the_same(rabbitmq_vhost: str) -> None:
    """
    Content that the ledger refuses, or a bug of ours, must not make a message loop.
    """
    async with upstream(rabbitmq_vhost) as service:
        clerk = Clerk(service, StepRefused("DataError"), KeyError("bug"))
        async with at_work(rabbitmq_vhost, _bury, note_burial=clerk):
            for number in range(2):
                await service.request(f"r-{number}")
                await service.dead_letter()
        rest = await service.rest_of(REQUESTS)

    assert 2 == len(clerk.noted)
    assert [] == rest
