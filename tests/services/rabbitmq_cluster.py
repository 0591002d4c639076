"""RabbitMQ nodes that form one cluster, so that a test can kill the leader of a queue.

Loopback only, with an epmd and a cookie of their own: no broker that is there already is asked or
touched."""

from __future__ import annotations

import asyncio
import secrets
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from worker.demo.ports import free_ports
from worker.demo.rabbitmq_node import Found, Kin, NodeFailed, RabbitmqNode

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

_SECONDS_MAX: Final = 60.0
_PAUSE: Final = 0.1


class RabbitmqCluster:
    """So many nodes as one broker; as a context it runs, and nothing of it is left in the end.

    A node is named by its index, from 0. A quorum queue that is declared here has a member on each
    node (up to five). `kill` and `restart` may run for several nodes at once.
    """

    def __init__(self, folder: Path, found: Found, size: int = 3) -> None:
        self.folder = folder.resolve()
        self._found = found
        (epmd_port,) = free_ports(1)
        self._kin = Kin(secrets.token_hex(16), epmd_port)
        self._nodes = tuple(
            RabbitmqNode(self.folder / f"node-{index}", found, kin=self._kin)
            for index in range(size)
        )
        self._killed: set[int] = set()
        self._epmd: subprocess.Popen[bytes] | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """Where an AMQP client connects, a URL for each node, by index."""
        return tuple(node.url for node in self._nodes)

    async def start(self) -> None:
        """Start the nodes and join them; raises NodeFailed when one does not come up."""
        try:
            await asyncio.to_thread(self._start_epmd)
            await _all(*(asyncio.to_thread(node.start) for node in self._nodes))
            for index in range(1, len(self._nodes)):
                # One after the other: two that join at once can miss each other.
                await self._join(index)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End every node, as a power cut would: nobody needs what it holds any more."""
        await _all(*(asyncio.to_thread(node.kill) for node in self._nodes))
        if self._epmd is not None:
            self._epmd.kill()
            await asyncio.to_thread(self._epmd.wait)
            self._epmd = None

    async def kill(self, index: int) -> None:
        """SIGKILL one node with all its processes; it is gone when this returns."""
        self._killed.add(index)
        await asyncio.to_thread(self._nodes[index].kill)

    async def restart(self, index: int) -> None:
        """Start a killed node again, at its URL and with its data; it answers AMQP then.

        A node that comes back waits for the others: after more than one was killed, restart them
        at once (`asyncio.gather`).
        """
        await asyncio.to_thread(self._nodes[index].start)
        self._killed.discard(index)

    async def leader_of(self, queue: str, vhost: str = "/") -> int:
        """Tell which node leads a quorum queue; waits while the last leader is a killed one."""
        names = [node.name for node in self._nodes]
        try:
            async with asyncio.timeout(_SECONDS_MAX):
                while True:
                    told = await self._column("leader", queue, vhost)
                    if told in names and (index := names.index(told)) not in self._killed:
                        return index
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise NodeFailed(f"no leader of {queue} within {_SECONDS_MAX:g} s") from None

    async def members_of(self, queue: str, vhost: str = "/") -> tuple[int, ...]:
        """Tell which nodes hold a quorum queue, killed ones too."""
        told = await self._column("members", queue, vhost)
        return tuple(index for index, node in enumerate(self._nodes) if node.name in told)

    async def ctl(self, index: int, *arguments: str) -> str:
        """What `rabbitmqctl` prints for one node; raises NodeFailed when it fails."""
        return await asyncio.to_thread(self._nodes[index].ctl, *arguments)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _start_epmd(self) -> None:
        # Its own process, and no node's child: it has to outlive each of them.
        port = self._kin.epmd_port
        self._epmd = subprocess.Popen(
            [self._found.epmd, "-address", "127.0.0.1", "-port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _SECONDS_MAX
        while not _accepts(port):
            if time.monotonic() > deadline:
                raise NodeFailed(f"epmd silent for {_SECONDS_MAX:g} s")
            time.sleep(_PAUSE)

    async def _join(self, index: int) -> None:
        await self.ctl(index, "stop_app")
        await self.ctl(index, "reset")
        await self.ctl(index, "join_cluster", self._nodes[0].name)
        await self.ctl(index, "start_app")

    async def _column(self, column: str, queue: str, vhost: str) -> str:
        """What a living node tells of a queue; empty when it knows none of that name."""
        alive = next(i for i in range(len(self._nodes)) if i not in self._killed)
        table = await self.ctl(alive, "list_queues", "--vhost", vhost, "name", column)
        rows = (line.split("\t", 1) for line in table.splitlines())
        return next((row[1] for row in rows if row[0] == queue and len(row) > 1), "")


async def _all(*threads: Awaitable[None]) -> None:
    """Wait for all of these, also when one fails, and then raise what the first raised."""
    results = await asyncio.gather(*threads, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
