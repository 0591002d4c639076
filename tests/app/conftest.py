"""A simulator, a desk and workers for the tests of the real process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.app.harness import Desk, WorkerProcess, a_desk, settings
from worker.demo.ports import free_ports
from worker.ledger.migrate import migrate
from worker.simulator.bluum_server import BluumOptions, BluumServer, serve
from worker.simulator.bluum_terms import Terms

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.postgres_node import PostgresNode

Start = Callable[..., Awaitable[WorkerProcess]]


@pytest.fixture
def port() -> int:
    """A free port, where the worker takes webhooks."""
    (free,) = free_ports(1)
    return free


@pytest.fixture
async def server() -> AsyncIterator[BluumServer]:
    """A provider without limit that lets withdrawals progress fast."""
    terms = Terms(pace=timedelta(seconds=0.2))
    options = BluumOptions(rate_limit=0, latency=timedelta(milliseconds=20), terms=terms)
    async with serve(options) as running:
        yield running


@pytest.fixture
async def desk(rabbitmq_vhost: str, server: BluumServer) -> AsyncIterator[Desk]:
    """An upstream service at the shared broker."""
    async with a_desk(rabbitmq_vhost, server) as open_desk:
        yield open_desk


@pytest.fixture(params=["sqlite_url", "shared_ledger"], ids=["sqlite", "postgresql"])
def migrated(request: pytest.FixtureRequest) -> str:
    """The URL of a ledger that is ready to be used, on each database in turn."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture(scope="session")
def _template(postgres: PostgresNode) -> str:
    """The name of a database with the schema."""
    url = postgres.create_database()
    asyncio.run(migrate(url))
    return url.rpartition("/")[2]


@pytest.fixture
def shared_ledger(postgres: PostgresNode, _template: str) -> str:
    """The URL of a ledger that is ready to be used by several workers at once."""
    # Of its own, and not emptied for the next: a killed worker's session may outlive its test.
    return postgres.create_database(_template)


@pytest.fixture
def program() -> str | None:
    """What `start` starts: a worker that is imported already. A file may say otherwise."""
    return None


@pytest.fixture
async def start(
    rabbitmq_vhost: str, server: BluumServer, tmp_path: Path, program: str | None
) -> AsyncIterator[Start]:
    """Starts workers on a given ledger; all are gone at the end, with whatever they held."""
    async with AsyncExitStack() as stack:
        count = itertools.count()

        async def start_one(ledger: str, **changes: str) -> WorkerProcess:
            environment = settings(rabbitmq_vhost, ledger, server.base_url) | changes
            worker = WorkerProcess(
                environment, tmp_path / f"worker-{next(count)}.log", program=program
            )
            await stack.enter_async_context(worker)
            await worker.start()
            return worker

        yield start_one
