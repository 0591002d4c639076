"""Every provider on a stage of its own: opened, with its company's simulator behind it.

A new provider is one more row in `ROWS`; the suite then says all its sentences of it as well. What
differs from row to row is data here, and no test asks which provider it has before it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.providers.builders import Clock, a_held, a_permit
from tests.providers.canned import Said, canned
from worker.providers.bluum import Bluum, BluumAccountsRequest, BluumRequest
from worker.providers.bluum_generation import ACCOUNT_SCOPED, INVESTOR_SCOPED
from worker.providers.http import Line
from worker.providers.pace import Alone, Pace
from worker.providers.upvest import Upvest
from worker.providers.upvest_access import UpvestAccess
from worker.providers.upvest_orders import bare
from worker.providers.upvest_requests import UpvestRequest
from worker.providers.upvest_signature import UpvestSignature
from worker.simulator import bluum_generation as simulated
from worker.simulator.bluum_server import BluumOptions, BluumServer, serve
from worker.simulator.bluum_terms import Terms
from worker.simulator.faults import read_faults
from worker.simulator.upvest_server import UpvestOptions, UpvestServer, serve_upvest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from tests.providers.canned import Answer, Canned
    from worker.core.change import Held
    from worker.core.permit import Permit
    from worker.core.requests import Request
    from worker.providers.bluum_generation import Generation
    from worker.providers.contract import Provider

#: So fast that no test notices it, but those that are about it.
FAST: Final = 10_000.0
PATIENT: Final = timedelta(seconds=20)
API_KEY: Final = "key-that-nobody-may-see"
API_SECRET: Final = "secret-that-nobody-may-see"
CLIENT_ID: Final = "ebabcf4d-61c3-4942-875c-e265a7c2d062"
KEY_ID: Final = "5f0c9d1e-6a4b-4d52-8d6f-2c1b0a9e8f77"
SIGNING_KEY: Final = Ed25519PrivateKey.generate()
#: What Upvest answers to a call for a token.
TOKEN: Final = Said(200, {"access_token": "token-that-nobody-may-see", "expires_in": 1800})
ACCOUNT_GROUP: Final = "0b8f6d0e-58f1-4b7b-8a53-6f2f0f7a2c22"
OTHER_ACCOUNT_GROUP: Final = "9d1f7a30-2b64-4a55-9c1e-71d2f0b6a3c4"
ACCOUNT: Final = "debf2026-f2da-4ff0-bb84-92e45babb1e3"
USER: Final = "2dedfeb0-58cd-44f2-ae08-0e41fe0413d9"
REFERENCE_ACCOUNT: Final = "7c1e0d52-1a57-4c8e-9a0a-3f5d1f0c9b11"


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
class Sells:
    """The orders of a provider that sells: the fields of one in `sell`, by what becomes of it.

    `plain` is sold; `resting` rests until it is cancelled; of `scarce` too little is held; `closed`
    is what the company does not take at this hour, None where it has no word for that.
    """

    plain: Mapping[str, Any]
    resting: Mapping[str, Any]
    scarce: Mapping[str, Any]
    closed: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A provider in the suite.

    `opened` opens it at a base URL, `company` starts the simulator behind it (its options may be
    given), `request` makes a valid request (fields may be changed). `party` is whose money that
    request is about, `other_party` another one that the company knows too; `unknown_id` is in the
    form of a withdrawal's id and nobody's. `accepting` are answers to the probe of the credentials
    in the provider's own words. `written_key` is how an idempotency key of the ledger stands in
    the header. `asides` are answers by path to calls that go before others (such as one for a
    token), for servers that know only one answer. `secrets` are texts that must never be seen.
    """

    name: str
    opened: Callable[[str, Options], AbstractAsyncContextManager[Provider]]
    company: Callable[..., AbstractAsyncContextManager[Company]]
    request: Callable[..., Request]
    party: str
    other_party: str
    unknown_id: str
    accepting: tuple[Said, ...]
    sells: Sells | None
    secrets: tuple[str, ...]
    written_key: Callable[[str], str] = str
    asides: Mapping[str, Said] = field(default_factory=dict)

    def canned(self, *answers: Answer) -> AbstractAsyncContextManager[Canned]:
        """Serve these answers in the company's place, in turn, the last one for ever."""
        return canned(*answers, asides=self.asides)

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


#: Two accounts of the older generation.
BLUUM_ACCOUNT: Final = "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"
OTHER_BLUUM_ACCOUNT: Final = "9f4c2b10-8a57-4c1e-b2d3-4a5f6e7d8c9b"


def bluum_accounts_request(**fields: Any) -> BluumAccountsRequest:  # noqa: ANN401 - any field
    """A valid request for Bluum's older generation."""
    plain = {
        "provider": "bluum_accounts",
        "account_id": BLUUM_ACCOUNT,
        "amount": "250.75",
        "currency": "USD",
        "method": "ach_plaid",
        "plaid_options": {"item_id": "item_nobody_may_see", "account_id": "acc_nobody_may_see"},
        "description": "text-that-nobody-may-see",
    }
    return BluumAccountsRequest.model_validate(plain | fields)


@asynccontextmanager
async def open_bluum(
    base_url: str,
    options: Options,
    *,
    reference: bool = True,
    generation: Generation = INVESTOR_SCOPED,
) -> AsyncIterator[Bluum]:
    """Open Bluum at a base URL, in either generation of its API."""
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
            generation,
            reference_in_description=reference,
            now=options.clock,
            tenure=options.tenure,
        )


open_bluum_accounts: Final = partial(open_bluum, generation=ACCOUNT_SCOPED)


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


def bluum_accounts_company(
    **options: Any,  # noqa: ANN401 - any option
) -> AbstractAsyncContextManager[BluumCompany]:
    """Start the simulator of Bluum's older generation; `terms` are changes of its terms."""
    terms = Terms(generation=simulated.ACCOUNT_SCOPED)
    return bluum_company(**options | {"terms": replace(terms, **options.get("terms", {}))})


def upvest_request(**fields: Any) -> UpvestRequest:  # noqa: ANN401 - any field
    """A valid request for Upvest."""
    plain = {
        "provider": "upvest",
        "account_group_id": ACCOUNT_GROUP,
        "reference_account_id": REFERENCE_ACCOUNT,
        "user_id": USER,
        "amount": "250.75",
        "currency": "EUR",
        "remittance_information": "text-that-nobody-may-see",
        "purpose_code": "OTHR",
    }
    return UpvestRequest.model_validate(plain | fields)


@asynccontextmanager
async def open_upvest(
    base_url: str, options: Options, *, reference: bool = False
) -> AsyncIterator[Upvest]:
    """Open Upvest at a base URL."""
    now = partial(datetime.now, UTC)
    line = Line(
        base_url,
        auth=UpvestSignature(
            key=SIGNING_KEY, key_id=KEY_ID, client_id=CLIENT_ID, now=now, nonce=token_urlsafe
        ),
        pace=Pace(Alone(options.rate).reserve, waited=options.waited),
        timeout=options.timeout,
        observe=options.observe,
        request_id_header="upvest-request-id",
    )
    access = UpvestAccess(line, client_id=CLIENT_ID, client_secret=API_SECRET, now=now)
    async with access:
        yield Upvest(
            access,
            reference_in_remittance=reference,
            now=options.clock,
            tenure=options.tenure,
        )


@dataclass(frozen=True, slots=True)
class UpvestCompany:
    """Upvest's simulator, as the suite sees it."""

    server: UpvestServer

    @property
    def base_url(self) -> str:
        """Where its API begins."""
        return self.server.base_url

    def strike(self, **shares: float) -> None:
        """Let faults strike the calls that create: without a token none of them would leave."""
        self.server.set_faults(read_faults(shares))

    def revoke(self) -> None:
        """Accept the client no more."""
        self.server.simulation.revoked = True

    def executed(self) -> int:
        """Return how many withdrawals it carried out."""
        effects = self.server.simulation.house.ground.journal.effects
        return sum(effect.kind == "withdrawal" for effect in effects)

    def heard(self) -> int:
        """Return how many calls arrived, but for those for tokens."""
        requests = self.server.simulation.traffic.requests
        return requests.total() - requests["token"]


@asynccontextmanager
async def upvest_company(**options: Any) -> AsyncIterator[UpvestCompany]:  # noqa: ANN401 - any option
    """Start Upvest's simulator: without a limit and without latency, unless told otherwise."""
    plain = UpvestOptions(
        client_id=CLIENT_ID,
        client_secret=API_SECRET,
        key_id=KEY_ID,
        client_key=SIGNING_KEY,
        rate_limit=0,
        latency=timedelta(),
    )
    async with serve_upvest(replace(plain, **options)) as server:
        yield UpvestCompany(server)


ROWS: Final = (
    Row(
        name="bluum",
        opened=open_bluum,
        company=bluum_company,
        request=bluum_request,
        party="inv_01",
        other_party="inv_02",
        unknown_id="wd_nobody_knows",
        accepting=(
            Said(200, {"object": "list", "data": [], "has_more": False}),
            Said(404, {"error": {"code": "BLUM-404-001", "message": "nobody"}}),
        ),
        sells=Sells(
            plain={"symbol": "AAPL", "quantity": "3"},
            resting={"symbol": "SIM.RESTING", "quantity": "3"},
            scarce={"symbol": "SIM.SCARCE", "quantity": "3"},
            closed={"symbol": "SIM.CLOSED", "quantity": "3"},
        ),
        secrets=(API_KEY, API_SECRET, "fs_nobody_may_see", "text-that-nobody-may-see"),
    ),
    Row(
        name="bluum_accounts",
        opened=open_bluum_accounts,
        company=bluum_accounts_company,
        request=bluum_accounts_request,
        party=BLUUM_ACCOUNT,
        other_party=OTHER_BLUUM_ACCOUNT,
        unknown_id="wdr_nobody_knows",
        accepting=(
            Said(200, {"status": "success", "data": [], "total": 0}),
            Said(404, {"status": "error", "code": "BLUM-404-001", "message": "nobody"}),
        ),
        sells=None,
        secrets=(
            API_KEY,
            API_SECRET,
            "item_nobody_may_see",
            "acc_nobody_may_see",
            "text-that-nobody-may-see",
        ),
    ),
    Row(
        name="upvest",
        opened=open_upvest,
        company=upvest_company,
        request=upvest_request,
        party=ACCOUNT_GROUP,
        other_party=OTHER_ACCOUNT_GROUP,
        unknown_id="00000000-0000-4000-8000-0000000000ff",
        accepting=(
            Said(200, {"meta": {"total_count": 0}, "data": []}),
            Said(404, {"type": "https://docs.upvest.co/errors/not_found", "status": 404}),
            Said(403, {"type": "forbidden", "status": 403}),
        ),
        sells=Sells(
            plain={"account_id": ACCOUNT, "instrument_id": "US0378331005", "quantity": "3"},
            resting={"account_id": ACCOUNT, "instrument_id": "ZZRESTING006", "quantity": "3"},
            scarce={"account_id": ACCOUNT, "instrument_id": "ZZSCARCE0009", "quantity": "3"},
            # What comes at the wrong hour is taken and waits.
            closed=None,
        ),
        secrets=(
            API_SECRET,
            "token-that-nobody-may-see",
            REFERENCE_ACCOUNT,
            "text-that-nobody-may-see",
        ),
        written_key=bare,
        asides={"/auth/token": TOKEN},
    ),
)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds on the other side of the wire."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - the simulator has no event for it
            await asyncio.sleep(0.001)
