"""A simulated API, listening for as long as an `async with` lasts; whose it is, it does not know.

Everything ends with the block: no task, no socket and no file is left behind."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from aiohttp import web

from worker.simulator.control import PREFIX, Control
from worker.simulator.door import BODY_MAX, Door
from worker.simulator.post import passing_time
from worker.simulator.simulation import Inhabited, Simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from worker.simulator.clock import Clock
    from worker.simulator.control import Command
    from worker.simulator.door import Company
    from worker.simulator.faults import Faults

#: How long calls in flight may take when the server closes, in seconds.
CLOSING_TIME: Final = 1.0
#: Connections that may wait to be accepted; a load test opens many at once.
BACKLOG: Final = 1024

House = TypeVar("House", bound=Inhabited)


@dataclass(frozen=True, slots=True)
class Server(Generic[House]):
    """A listening simulator. `port` is the real one, also when 0 was asked for."""

    port: int
    simulation: Simulation[House]

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = self.simulation.options.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def control_url(self) -> str:
        """Where the control calls begin."""
        return f"{self.origin}{PREFIX}"

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
async def listening(
    simulation: Simulation[Any],
    company: Company[Any],
    commands: Sequence[Command],
    *,
    request_id: tuple[str, Callable[[int], str]],
) -> AsyncIterator[int]:
    """Serve a company's API and its control calls until the block ends; yields the port.

    `request_id` is the header that names each response, and how its number becomes a name.
    OSError when the port is taken.
    """
    application = web.Application(client_max_size=BODY_MAX)
    Control(simulation, commands).add_routes(application.router)
    Door(simulation, company).add_routes(application.router)
    _name_responses(application, *request_id)
    runner = web.AppRunner(
        application, access_log=None, handle_signals=False, shutdown_timeout=CLOSING_TIME
    )
    await runner.setup()
    try:
        site = web.TCPSite(
            runner, simulation.options.host, simulation.options.port, backlog=BACKLOG
        )
        await site.start()
        async with passing_time(simulation):
            yield runner.addresses[0][1]
    finally:
        simulation.closing.set()
        await runner.cleanup()


def _name_responses(application: web.Application, header: str, name: Callable[[int], str]) -> None:
    numbers = count(1)

    async def name_response(_request: web.Request, response: web.StreamResponse) -> None:
        # An error may name itself in its body as well.
        if header not in response.headers:
            response.headers[header] = name(next(numbers))

    application.on_response_prepare.append(name_response)
