"""Reading the dead-letter queue of a real broker: nothing is lost, whatever ends the reading."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.rabbitmq.at_work import broker_at, publishing
from tests.rabbitmq.line import line_to
from tests.rabbitmq.upstream import PATIENCE, upstream
from tests.rabbitmq.wire import pairs, properties, short, text
from worker.flows.ports import PublishUnroutable
from worker.rabbitmq import failures
from worker.rabbitmq.graveyard import Graveyard, open_graveyard
from worker.rabbitmq.topology import DEAD_LETTERS, REQUEST_KEY, REQUESTS, TopologyUnsafe

if TYPE_CHECKING:
    from tests.rabbitmq.upstream import Upstream

NAMES = {f"r-{number}" for number in range(40)}


async def bury(service: Upstream) -> None:
    """Put a letter of each name into the queue."""
    for name in sorted(NAMES):
        headers = pairs((b"x-origin-queue", text(REQUESTS.encode())))
        encoded = properties(headers=headers, message_id=short(name.encode()))
        await service.publish(name.encode(), encoded, exchange=DEAD_LETTERS, key=REQUEST_KEY)


async def read(graveyard: Graveyard) -> list[str]:
    """Fetch all there are; return the message ids, of which each must be there."""
    found = []
    while (grave := await graveyard.next()) is not None:
        found.append(grave.letter.message_id or "")
    return found


async def are_ready(service: Upstream, count: int) -> None:
    """Wait until so many letters can be fetched."""
    async with asyncio.timeout(PATIENCE):
        while await service.ready_in(DEAD_LETTERS) != count:  # noqa: ASYNC110 - the broker knows
            await asyncio.sleep(0.05)


async def test_what_was_read_is_there_again(rabbitmq_vhost: str) -> None:
    """
    Each letter is fetched once until all are put back, and then once more.
    """
    async with upstream(rabbitmq_vhost) as service:
        await bury(service)
        async with open_graveyard(broker_at(rabbitmq_vhost)) as graveyard:
            first = await read(graveyard)
            assert 0 == await service.ready_in(DEAD_LETTERS)
            await graveyard.put_back()
            second = await read(graveyard)
        await are_ready(service, len(NAMES))

    assert (40, 40) == (len(first), len(second))
    assert NAMES == set(first) == set(second)


async def test_only_what_is_removed_goes(rabbitmq_vhost: str) -> None:
    """
    Single letters out of the middle; the removals are carried out once all else is put back.
    """
    gone = {"r-3", "r-17", "r-18", "r-39"}
    async with upstream(rabbitmq_vhost) as service:
        await bury(service)
        async with open_graveyard(broker_at(rabbitmq_vhost)) as graveyard:
            while (grave := await graveyard.next()) is not None:
                if grave.letter.message_id in gone:
                    await grave.remove()
            await graveyard.put_back()
            rest = await read(graveyard)

    assert sorted(NAMES - gone) == sorted(rest)


async def test_a_lost_connection_loses_no_letter(rabbitmq_vhost: str) -> None:
    """
    The broker puts back what was in hand; the reader is told by an error, and hangs nowhere.
    """
    async with upstream(rabbitmq_vhost) as service, line_to(rabbitmq_vhost) as line:
        await bury(service)
        async with open_graveyard(broker_at(line.url)) as graveyard:
            for _ in range(10):
                await graveyard.next()
            line.cut()
            with pytest.raises(failures.AWAY):
                await read(graveyard)
        await are_ready(service, len(NAMES))


async def test_an_exception_midway_loses_no_letter(rabbitmq_vhost: str) -> None:
    """
    Whoever leaves, for whatever reason, leaves all letters behind.
    """
    async with upstream(rabbitmq_vhost) as service:
        await bury(service)
        with pytest.raises(ZeroDivisionError):
            await _fetch_and_fail(rabbitmq_vhost)
        await are_ready(service, len(NAMES))


async def test_letters_are_not_held_for_long_at_the_beginning(rabbitmq_vhost: str) -> None:
    """
    Nothing has to be put back before something was fetched, nor right after it.
    """
    async with upstream(rabbitmq_vhost) as service:
        await bury(service)
        async with open_graveyard(broker_at(rabbitmq_vhost)) as graveyard:
            assert not graveyard.has_held_long
            await graveyard.next()
            assert not graveyard.has_held_long


async def test_a_letter_is_sent_to_where_it_came_from(rabbitmq_vhost: str) -> None:
    """
    And is still among the dead, until it is removed.
    """
    async with (
        upstream(rabbitmq_vhost) as service,
        publishing(broker_at(rabbitmq_vhost)) as publisher,
    ):
        await bury(service)
        async with open_graveyard(broker_at(rabbitmq_vhost), publisher=publisher) as graveyard:
            grave = await graveyard.next()
            assert grave is not None
            assert await grave.resend()
        sent = await service.next_in(REQUESTS)
        await are_ready(service, len(NAMES))

    assert (grave.body, REQUEST_KEY) == (sent.body, sent.routing_key)


async def test_a_letter_without_a_way_back_is_not_sent(rabbitmq_vhost: str) -> None:
    """
    Nobody is told that it was.
    """
    async with (
        upstream(rabbitmq_vhost) as service,
        publishing(broker_at(rabbitmq_vhost)) as publisher,
    ):
        await service.publish(b"body", properties(), exchange=DEAD_LETTERS, key="elsewhere")
        async with open_graveyard(broker_at(rabbitmq_vhost), publisher=publisher) as graveyard:
            grave = await graveyard.next()
            assert grave is not None
            assert not await grave.resend()


async def test_a_letter_that_no_queue_takes_is_not_sent(rabbitmq_vhost: str) -> None:
    """
    The caller hears of it, and keeps the letter.
    """
    async with (
        upstream(rabbitmq_vhost) as service,
        publishing(broker_at(rabbitmq_vhost)) as publisher,
    ):
        await bury(service)
        async with service.connection.channel() as channel:
            await channel.queue_delete(REQUESTS)
        async with open_graveyard(broker_at(rabbitmq_vhost), publisher=publisher) as graveyard:
            grave = await graveyard.next()
            assert grave is not None
            with pytest.raises(PublishUnroutable):
                await grave.resend()


async def test_a_missing_queue_is_told_and_not_made(rabbitmq_vhost: str) -> None:
    """
    Looking declares nothing.
    """
    with pytest.raises(TopologyUnsafe, match=r"withdrawals\.dead-letters is missing"):
        async with open_graveyard(broker_at(rabbitmq_vhost)):
            pytest.fail("there is nothing to read")


async def _fetch_and_fail(url: str) -> None:
    async with open_graveyard(broker_at(url)) as graveyard:
        await graveyard.next()
        raise ZeroDivisionError
