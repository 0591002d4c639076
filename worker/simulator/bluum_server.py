"""The way in: a simulated Bluum API, listening, for as long as an `async with` lasts.

    async with serve(BluumOptions(rate_limit=0)) as server:
        ...  # a client talks to server.base_url, server.record() tells what came of it

Everything ends with the block: no task, no socket and no file is left behind."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from worker.simulator.bluum_http import BODY_MAX, BluumHttp
from worker.simulator.control import PREFIX, Control
from worker.simulator.post import passing_time
from worker.simulator.simulation import BluumOptions, Simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from worker.simulator.bluum_bank import BluumBank
    from worker.simulator.clock import Clock
    from worker.simulator.faults import Faults

__all__ = ["BluumOptions", "BluumServer", "serve"]

#: How long calls in flight may take when the server closes, in seconds.
CLOSING_TIME: Final = 1.0
#: Connections that may wait to be accepted; a load test opens many at once.
BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class BluumServer:
    """A listening simulator. `port` is the real one, also when 0 was asked for."""

    port: int
    simulation: Simulation

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = self.simulation.options.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """Where the API begins, as a client's setting: `http://127.0.0.1:1234/v1`."""
        return f"{self.origin}/v1"

    @property
    def control_url(self) -> str:
        """Where the control calls begin."""
        return f"{self.origin}{PREFIX}"

    @property
    def bank(self) -> BluumBank:
        """The money behind the API."""
        return self.simulation.house.bank

    @property
    def clock(self) -> Clock:
        """The simulator's time, to be put forward."""
        return self.simulation.clock

    def record(self) -> Mapping[str, Any]:
        """Return what `GET /_simulator/record` answers."""
        return self.simulation.record()

    def set_faults(self, faults: Faults) -> None:
        """Replace all faults, as `PUT /_simulator/faults` does."""
        self.simulation.faults = faults


@asynccontextmanager
async def serve(options: BluumOptions | None = None) -> AsyncIterator[BluumServer]:
    """Serve the simulated API until the block ends; OSError when the port is taken."""
    simulation = Simulation.begin(options or BluumOptions())
    runner = web.AppRunner(
        _application(simulation),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=CLOSING_TIME,
    )
    await runner.setup()
    try:
        site = web.TCPSite(
            runner, simulation.options.host, simulation.options.port, backlog=BACKLOG
        )
        await site.start()
        async with passing_time(simulation):
            yield BluumServer(port=runner.addresses[0][1], simulation=simulation)
    finally:
        simulation.closing.set()
        await runner.cleanup()


def _application(simulation: Simulation) -> web.Application:
    application = web.Application(client_max_size=BODY_MAX)
    Control(simulation).add_routes(application.router)
    BluumHttp(simulation).add_routes(application.router)
    numbers = count(1)

    async def name_response(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Request-Id"] = f"req_{next(numbers):08d}"

    application.on_response_prepare.append(name_response)
    return application
