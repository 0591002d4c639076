"""The way in: a simulated Bluum API, listening, for as long as an `async with` lasts.

    async with serve(BluumOptions(rate_limit=0)) as server:
        ...  # a client talks to server.base_url, server.record() tells what came of it

Everything ends with the block: no task, no socket and no file is left behind."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.simulator.bluum_control import commands
from worker.simulator.bluum_house import House
from worker.simulator.bluum_http import BluumHttp
from worker.simulator.bluum_notices import WILDCARDS
from worker.simulator.bluum_options import BluumOptions
from worker.simulator.server import Server, listening
from worker.simulator.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.simulator.bluum_bank import BluumBank

__all__ = ["BluumOptions", "BluumServer", "serve"]


@dataclass(frozen=True, slots=True)
class BluumServer(Server[House]):
    """A listening simulator of Bluum's API."""

    @property
    def base_url(self) -> str:
        """Where the API begins, as a client's setting: `http://127.0.0.1:1234/v1`."""
        return f"{self.origin}/v1"

    @property
    def bank(self) -> BluumBank:
        """The money behind the API."""
        return self.simulation.house.bank


@asynccontextmanager
async def serve(options: BluumOptions | None = None) -> AsyncIterator[BluumServer]:
    """Serve the simulated API until the block ends; OSError when the port is taken."""
    options = options or BluumOptions()
    simulation = _begin(options)
    company = BluumHttp(simulation, options)
    request_id = ("X-Request-Id", lambda number: f"req_{number:08d}")
    async with listening(simulation, company, commands(simulation), request_id=request_id) as port:
        yield BluumServer(port, simulation)


def _begin(options: BluumOptions) -> Simulation[House]:
    """Return a simulation in which nothing has happened yet."""
    house = House.open(options.terms, options.webhooks)
    simulation = Simulation(options=options, house=house, faults=options.faults)
    house.webhooks.faults = lambda: simulation.faults
    if options.webhooks.url is not None:
        house.webhooks.subscribe(
            options.webhooks.url, WILDCARDS, name="simulate", now=simulation.clock.now()
        )
    return simulation
