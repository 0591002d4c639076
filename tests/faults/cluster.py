"""A broker of three nodes, of which the one is killed that leads the request queue.

Only what a run asks of a broker. How nodes are started and joined stands in `tests.services`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yarl import URL

from worker.rabbitmq.topology import REQUESTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.proxy import Address
    from tests.services.rabbitmq_cluster import RabbitmqCluster


class ClusterBroker:
    """A running cluster as the broker of a run."""

    def __init__(self, cluster: RabbitmqCluster) -> None:
        self._cluster = cluster
        self._killed: set[int] = set()

    def addresses(self) -> Sequence[Address]:
        """Return the living nodes' addresses."""
        urls = [URL(url) for url in self._cluster.urls]
        return [
            (url.host or "", url.port or 0)
            for index, url in enumerate(urls)
            if index not in self._killed
        ]

    async def kill(self) -> None:
        """End the node that leads the request queue."""
        leader = await self._cluster.leader_of(REQUESTS)
        # First, so that nobody connects to it any more.
        self._killed.add(leader)
        await self._cluster.kill(leader)

    async def restart(self) -> None:
        """Start what was killed; it rejoins the others."""
        for index in sorted(self._killed):
            await self._cluster.restart(index)
            self._killed.discard(index)
