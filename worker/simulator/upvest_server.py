"""The way in: a simulated Upvest API, listening, for as long as an `async with` lasts.

    async with serve_upvest(UpvestOptions(rate_limit=0)) as server:
        ...  # a client talks to server.base_url and signs with server.private_pem

Everything ends with the block: no task, no socket and no file is left behind."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.simulator.chance import uuid
from worker.simulator.server import Server, listening
from worker.simulator.simulation import Simulation
from worker.simulator.upvest_client_keys import private_pem
from worker.simulator.upvest_control import commands
from worker.simulator.upvest_house import House
from worker.simulator.upvest_http import REQUEST_ID, UpvestHttp
from worker.simulator.upvest_options import UpvestOptions
from worker.simulator.upvest_webhooks import ALL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.simulator.upvest_bank import UpvestBank

__all__ = ["UpvestOptions", "UpvestServer", "serve_upvest"]


@dataclass(frozen=True, slots=True)
class UpvestServer(Server[House]):
    """A listening simulator of Upvest's API. `private_pem` signs as its client, unencrypted."""

    private_pem: bytes

    @property
    def base_url(self) -> str:
        """Where the API begins, as a client's setting: `http://127.0.0.1:1234`."""
        return self.origin

    @property
    def bank(self) -> UpvestBank:
        """The money behind the API."""
        return self.simulation.house.bank


@asynccontextmanager
async def serve_upvest(options: UpvestOptions | None = None) -> AsyncIterator[UpvestServer]:
    """Serve the simulated API until the block ends; OSError when the port is taken."""
    options = options or UpvestOptions()
    simulation = _begin(options)
    seed = options.terms.seed
    company = UpvestHttp(simulation, options)
    request_id = (REQUEST_ID, lambda number: uuid(seed, "unnamed response", str(number)))
    async with listening(simulation, company, commands(simulation), request_id=request_id) as port:
        yield UpvestServer(port, simulation, private_pem(options.client_key))


def _begin(options: UpvestOptions) -> Simulation[House]:
    """Return a simulation in which nothing has happened yet."""
    house = House.open(
        options.client(),
        options.terms,
        options.webhooks,
        token_lifetime=options.token_lifetime,
    )
    simulation = Simulation(options=options, house=house, faults=options.faults)
    house.webhooks.faults = lambda: simulation.faults
    if options.webhooks.url is not None:
        house.webhooks.subscribe(
            title="simulate",
            url=options.webhooks.url,
            types=(ALL,),
            enabled=True,
            now=simulation.clock.now(),
        )
    return simulation
