"""Every provider on a stage of its own: opened, with its company's simulator behind it.

A new provider is one more row in `ROWS`; the suite then says all its sentences of it as well."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx

from tests.providers.builders import Clock, a_held, a_permit
from worker.providers.bluum import Bluum, BluumRequest
from worker.providers.http import Line
from worker.providers.pace import Alone, Pace
from worker.simulator.bluum_server import BluumOptions, BluumServer, serve
from worker.simulator.faults import read_faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from worker.core.decide import Held, Permit
    from worker.core.requests import Request
    from worker.providers.contract import Provider

#: So fast that no test notices it, but those that are about it.
FAST: Final = 10_000.0
PATIENT: Final = timedelta(seconds=20)
API_KEY: Final = "key-that-nobody-may-see"
API_SECRET: Final = "secret-that-nobody-may-see"


class Company(Protocol):
    """The company behind a provider: what a test makes it do, and what it did."""

    @property
    def base_url(self) -> str:
        """Where its API begins."""
        ...

    def strike(self, **shares: float) -> None:
        """Let faults strike, by the names of `worker.simulator.faults`; none ends them all."""
        ...

    def revoke(self) -> None:
        """Accept our credentials no more."""
        ...

    def executed(self) -> int:
        """Return how many withdrawals it carried out."""
        ...

    def heard(self) -> int:
        """Return how many calls arrived."""
        ...


@dataclass(slots=True)
class Options:
    """How a provider is opened, where a test cares."""

    rate: float = FAST
    timeout: timedelta = PATIENT
    clock: Clock = field(default_factory=Clock)
    tenure: Callable[[], int | None] = lambda: 0
    waited: Callable[[str, float], None] = lambda _operation, _seconds: None
    observe: Callable[[str, str, float], None] = lambda _operation, _outcome, _seconds: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A provider in the suite.

    `opened` opens it at a base URL, `company` starts the simulator behind it, `request` makes a
    valid request (fields may be changed), `secrets` are texts that must never be seen.
    """

    name: str
    opened: Callable[[str, Options], AbstractAsyncContextManager[Provider]]
    company: Callable[..., AbstractAsyncContextManager[Company]]
    request: Callable[..., Request]
    secrets: tuple[str, ...]

    @asynccontextmanager
    async def staged(self, options: Options | None = None, **company: Any) -> AsyncIterator[Stage]:  # noqa: ANN401 - options of the simulator
        """Open the provider with its company behind it."""
        async with (
            self.company(**company) as behind,
            self.opened(behind.base_url, options or Options()) as provider,
        ):
            yield Stage(self, provider, behind)


@dataclass(frozen=True, slots=True)
class Stage:
    """An opened provider and its company."""

    row: Row
    provider: Provider
    company: Company

    def held(self, message_id: str = "req-1", **fields: object) -> Held:
        """A withdrawal in doubt; the same message id means the same key."""
        return a_held(self.provider, self.row.request(**fields), message_id)

    def permit(self, message_id: str = "req-1", **fields: object) -> Permit:
        """The permit for its create call."""
        return a_permit(self.held(message_id, **fields))


def bluum_request(**fields: Any) -> BluumRequest:  # noqa: ANN401 - any field
    """A valid request for Bluum."""
    plain = {
        "provider": "bluum",
        "investor_id": "inv_01",
        "amount": "250.75",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": "fs_nobody_may_see",
        "description": "text-that-nobody-may-see",
    }
    return BluumRequest.model_validate(plain | fields)


@asynccontextmanager
async def open_bluum(
    base_url: str, options: Options, *, reference: bool = True
) -> AsyncIterator[Bluum]:
    """Open Bluum at a base URL."""
    line = Line(
        base_url,
        auth=httpx.BasicAuth(API_KEY, API_SECRET),
        pace=Pace(Alone(options.rate).reserve, waited=options.waited),
        timeout=options.timeout,
        observe=options.observe,
    )
    async with line:
        yield Bluum(
            line,
            reference_in_description=reference,
            now=options.clock,
            tenure=options.tenure,
        )


@dataclass(frozen=True, slots=True)
class BluumCompany:
    """Bluum's simulator, as the suite sees it."""

    server: BluumServer

    @property
    def base_url(self) -> str:
        """Where its API begins."""
        return self.server.base_url

    def strike(self, **shares: float) -> None:
        """Let faults strike all calls."""
        self.server.set_faults(read_faults(shares | {"calls": "all"}))

    def revoke(self) -> None:
        """Accept the key pair no more."""
        self.server.simulation.revoked = True

    def executed(self) -> int:
        """Return how many withdrawals it carried out."""
        return sum(effect.kind == "withdrawal" for effect in self.server.bank.effects)

    def heard(self) -> int:
        """Return how many calls arrived."""
        return self.server.simulation.traffic.requests.total()


@asynccontextmanager
async def bluum_company(**options: Any) -> AsyncIterator[BluumCompany]:  # noqa: ANN401 - any option
    """Start Bluum's simulator: without a limit and without latency, unless told otherwise."""
    plain = BluumOptions(api_key=API_KEY, api_secret=API_SECRET, rate_limit=0, latency=timedelta())
    async with serve(replace(plain, **options)) as server:
        yield BluumCompany(server)


ROWS: Final = (
    Row(
        name="bluum",
        opened=open_bluum,
        company=bluum_company,
        request=bluum_request,
        secrets=(API_KEY, API_SECRET, "fs_nobody_may_see", "text-that-nobody-may-see"),
    ),
)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds on the other side of the wire."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - the simulator has no event for it
            await asyncio.sleep(0.001)
