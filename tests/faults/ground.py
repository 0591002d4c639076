"""What the seeds of one job stand on: a broker, a database server, and empty ledgers to copy.

Started once and used by one seed after the other. No worker runs here."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from tests.faults.cluster import ClusterBroker
from tests.faults.plan import Ledger
from tests.ledger import second
from tests.services.postgres_node import PostgresFailed, PostgresNode, find_postgres
from tests.services.rabbitmq_cluster import RabbitmqCluster
from worker.demo.rabbitmq_node import HOW_TO_GET_RABBITMQ, Found, RabbitmqNode, find_rabbitmq
from worker.ledger.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.proxy import Address

LOOPBACK: Final = "127.0.0.1"


class Missing(Exception):  # noqa: N818 - named by what is wrong
    """A program that the harness needs is not installed; the message says how to get it."""


class Broker(Protocol):
    """A RabbitMQ, of one node or of several."""

    def addresses(self) -> Sequence[Address]:
        """Return where it may be reached, the best first."""
        ...

    async def kill(self) -> None:
        """End a node of it as a power cut would."""
        ...

    async def restart(self) -> None:
        """Start what was killed; returns once it answers."""
        ...


class SingleNode:
    """The broker of most runs."""

    def __init__(self, node: RabbitmqNode) -> None:
        self._node = node

    def addresses(self) -> Sequence[Address]:
        """Return the node's."""
        return [(LOOPBACK, self._node.port)]

    async def kill(self) -> None:
        """End it."""
        await asyncio.to_thread(self._node.kill)

    async def restart(self) -> None:
        """Start it again: same port, same data."""
        await asyncio.to_thread(self._node.start)


class Ground:
    """Services of one job; use it as an asynchronous context. Raises Missing without programs.

    `nodes` is how many the broker has. Grounds that are started together share `migrating`, since
    alembic keeps what it is doing in variables of its modules.
    """

    def __init__(self, *, nodes: int = 1, migrating: asyncio.Lock | None = None) -> None:
        self._nodes = nodes
        self._migrating = migrating or asyncio.Lock()
        self.postgres: PostgresNode
        self.broker: Broker
        self._folder: Path
        self._stack = AsyncExitStack()
        self._template = ""

    async def __aenter__(self) -> Self:
        """Start everything at once."""
        found, programs = found_programs()
        folders = [
            Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="withdrawals-")))
            for _ in range(3)
        ]
        self._folder = folders[0]
        # Not below another folder: PostgreSQL runs as a user who could not enter it.
        self.postgres = PostgresNode(folders[2], programs)
        self._stack.callback(_end_quietly, self.postgres)
        starts = (
            self._start_broker(folders[1], found),
            self._start_postgres(),
            self._migrate(self._sqlite),
        )
        # All have to be over before anything is ended: a thread cannot be called back.
        ended = await asyncio.gather(*starts, return_exceptions=True)
        if errors := [end for end in ended if isinstance(end, BaseException)]:
            await self._stack.aclose()
            raise errors[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything."""
        await self._stack.aclose()

    async def new_ledger(self, kind: Ledger, folder: Path) -> str:
        """Return the URL of an empty ledger with its schema; a file of it lies in `folder`."""
        match kind:
            case Ledger.SQLITE:
                path = folder / "ledger.db"
                shutil.copy(self._folder / "template.db", path)
                return f"sqlite:///{path}"
            case Ledger.POSTGRESQL:
                return await asyncio.to_thread(self.postgres.create_database, self._template)

    async def remove_ledger(self, url: str) -> None:
        """Drop a database, which would only fill the disk; a file goes with its folder."""
        if url.startswith("postgresql"):
            name = url.rpartition("/")[2]
            await second.write(self.postgres.url, f'DROP DATABASE "{name}" WITH (FORCE)')

    @property
    def _sqlite(self) -> str:
        return f"sqlite:///{self._folder / 'template.db'}"

    async def _start_broker(self, folder: Path, found: Found) -> None:
        if self._nodes == 1:
            node = RabbitmqNode(folder, found)
            self._stack.callback(node.kill)
            await asyncio.to_thread(node.start)
            self.broker = SingleNode(node)
            return
        cluster = RabbitmqCluster(folder, found, self._nodes)
        self._stack.push_async_callback(cluster.stop)
        await cluster.start()
        self.broker = ClusterBroker(cluster)

    async def _start_postgres(self) -> None:
        await asyncio.to_thread(self.postgres.start)
        url = await asyncio.to_thread(self.postgres.create_database)
        await self._migrate(url)
        self._template = url.rpartition("/")[2]

    async def _migrate(self, url: str) -> None:
        async with self._migrating:
            await migrate(url)


def found_programs() -> tuple[Found, Path]:
    """Return RabbitMQ (or the one the tests are told to use) and PostgreSQL; raises Missing."""
    if (postgres := find_postgres()) is None:
        raise Missing("No PostgreSQL found; see tests/services/install.sh.")
    if server := os.environ.get("WITHDRAWALS_TEST_RABBITMQ_SERVER"):
        path = Path(server).resolve()
        return Found(path, path.with_name("rabbitmqctl"), path.with_name("epmd")), postgres
    if (rabbitmq := find_rabbitmq()) is None:
        raise Missing(HOW_TO_GET_RABBITMQ)
    return rabbitmq, postgres


def _end_quietly(postgres: PostgresNode) -> None:
    # It may be down already: a run may have ended amid a fault.
    with suppress(PostgresFailed):
        postgres.kill()
