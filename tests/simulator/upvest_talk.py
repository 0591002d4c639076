"""A client's side of the simulated Upvest: it signs by hand, and can be told to sign wrongly.

Real HTTP over loopback; written from the draft, with nothing of the worker's or the simulator's."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha512
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from uuid import UUID, uuid5

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.no_tls import NO_TLS
from worker.simulator.upvest_server import UpvestOptions, UpvestServer, serve_upvest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

#: Fast, without a limit, and with tokens that last: what a test says nothing about shall not get in
#: its way.
PLAIN: Final = UpvestOptions(rate_limit=0, latency=timedelta(), token_lifetime=timedelta(days=99))
#: Everything that has been created has certainly ended after this many seconds.
LONG: Final = 3600

GROUP: Final = "0b8f6d0e-58f1-4b7b-8a53-6f2f0f7a2c22"
#: Its sales raise the cash of `GROUP`: their last digits are the same.
ACCOUNT: Final = "1c9a7e1f-69a2-4c8c-9b64-6f2f0f7a2c22"
EVERYTHING: Final = (
    "payments:admin payments:read positions:read orders:admin orders:read "
    "webhooks:admin webhooks:read"
)
FIELDS: Final = {
    "reference_account_id": "7c1e0d52-1a57-4c8e-9a0a-3f5d1f0c9b11",
    "account_group_id": GROUP,
    "amount": "75.50",
    "currency": "EUR",
    "remittance_information": "Payout WR 10442",
}
SALE: Final = {
    "account_id": ACCOUNT,
    "user_id": "2dedfeb0-58cd-44f2-ae08-0e41fe0413d9",
    "side": "SELL",
    "instrument_id": "US0378331005",
    "instrument_id_type": "ISIN",
    "quantity": "3",
    "client_reference": "sell-1",
}
_NAMESPACE: Final = UUID("00000000-0000-4000-8000-000000000000")


def key_of(name: str) -> str:
    """Return an idempotency key, a UUID of version 5."""
    return str(uuid5(_NAMESPACE, name))


def isin_of(beginning: str) -> str:
    """Return an ISIN with a beginning and its check digit (ISO 6166)."""
    body = beginning.ljust(11, "0")
    digits = [int(digit) for letter in body for digit in str(int(letter, 36))]
    doubled = [d * 2 if n % 2 == 0 else d for n, d in enumerate(reversed(digits))]
    return body + str(-sum(sum(divmod(d, 10)) for d in doubled) % 10)


@dataclass(frozen=True, slots=True)
class Signing:
    """How one request is signed; each field can be made wrong."""

    key_id: str = "simulator-key"
    created: int = 0
    expires: int = 10
    nonce: str | None = None
    left_out: frozenset[str] = frozenset()
    #: What is covered besides, whether it is there or not.
    added: tuple[str, ...] = ()
    #: Headers that are changed after the signature was made.
    changed: Mapping[str, str | None] = field(default_factory=dict)
    #: What is made of the signature before it is written.
    rewrite: Callable[[bytes], bytes] = bytes


#: As a client should.
RIGHT: Final = Signing()


@dataclass(slots=True)
class UpvestTalk:
    """A server and a client of it. `token` goes with each call but the one for a token."""

    server: UpvestServer
    http: httpx.AsyncClient
    key: EllipticCurvePrivateKey | Ed25519PrivateKey
    token: str | None = None
    _nonces: count[int] = field(default_factory=count)

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        key: str | None = None,
        signing: Signing = RIGHT,
        **headers: str | None,
    ) -> httpx.Response:
        """Make one signed call; a header that is None is not sent (`_` stands for `-`)."""
        sent: dict[str, str | None] = {
            "accept": "application/json",
            "upvest-client-id": self.server.simulation.house.client.id,
            "upvest-signature-version": "15",
            "authorization": None if self.token is None else f"Bearer {self.token}",
            "idempotency-key": key,
        }
        if body:
            sent["content-type"] = "application/json"
            sent["content-length"] = str(len(body))
            sent["content-digest"] = f"sha-512=:{b64encode(sha512(body).digest()).decode()}:"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        told = {name: value for name, value in sent.items() if value is not None}
        told |= self._signature(method, path, told, signing)
        for name, value in signing.changed.items():
            told.pop(name, None)
            if value is not None:
                told[name] = value
        request = httpx.Request(method, f"{self.server.base_url}{path}", headers=told, content=body)
        # What httpx adds by itself is of no account to a signature, and accept is no such header.
        if "accept" not in told:
            request.headers.pop("accept", None)
        return await self.http.send(request)

    async def ask_token(
        self, scope: str = EVERYTHING, *, signing: Signing = RIGHT, **form: str
    ) -> httpx.Response:
        """Ask for a token."""
        client = self.server.simulation.house.client
        fields = {
            "client_id": client.id,
            "client_secret": client.secret,
            "grant_type": "client_credentials",
            "scope": scope,
        }
        return await self.call(
            "POST",
            "/auth/token",
            body=urlencode(fields | form).encode(),
            content_type="application/x-www-form-urlencoded",
            authorization=None,
            signing=signing,
        )

    async def authorise(self, scope: str = EVERYTHING) -> None:
        """Get a token, which later calls carry."""
        self.token = (await self.ask_token(scope)).json()["access_token"]

    async def create(
        self, *, key: str | None = key_of("1"), signing: Signing = RIGHT, **changed: object
    ) -> httpx.Response:
        """Ask for a withdrawal; a field that is changed to ... is left out."""
        fields = {name: value for name, value in (FIELDS | changed).items() if value is not ...}
        body = json.dumps(fields).encode()
        return await self.call("POST", "/payments/withdrawals", body=body, key=key, signing=signing)

    async def place(self, *, key: str | None = key_of("s"), **changed: object) -> httpx.Response:
        """Place a sell order; a field that is changed to ... is left out."""
        fields = {name: value for name, value in (SALE | changed).items() if value is not ...}
        return await self.call("POST", "/orders", body=json.dumps(fields).encode(), key=key)

    async def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """Read something; 200 is expected."""
        target = f"{path}?{urlencode(query)}" if query else path
        response = await self.call("GET", target)
        assert 200 == response.status_code, response.text
        document: dict[str, Any] = response.json()
        return document

    async def withdrawal(self, withdrawal_id: str) -> tuple[str, str | None]:
        """Read where a withdrawal stands, and why it was cancelled."""
        found = await self.get(f"/payments/withdrawals/{withdrawal_id}")
        return found["status"], found.get("cancellation_reason")

    async def cancel(self, withdrawal_id: str) -> httpx.Response:
        """Cancel a withdrawal."""
        return await self.call("DELETE", f"/payments/withdrawals/{withdrawal_id}")

    async def cash(self, account_group_id: str = GROUP, currency: str = "EUR") -> tuple[str, ...]:
        """Read balance, what has not settled, and what is available for withdrawal."""
        path = f"/account_groups/{account_group_id}/payments/cash_balances/{currency}"
        found = await self.get(path)
        return found["balance"], found["pending_settlement"], found["available_for_withdrawal"]

    async def control(self, method: str, name: str, **fields: object) -> httpx.Response:
        """Make a control call, unsigned."""
        return await self.http.request(method, f"{self.server.control_url}/{name}", json=fields)

    async def advance(self, seconds: float) -> None:
        """Put the simulator's clock forward."""
        (await self.control("POST", "clock", advance_seconds=seconds)).raise_for_status()

    async def effects(self) -> list[dict[str, Any]]:
        """Read what happened to money."""
        record = (await self.http.get(f"{self.server.control_url}/record")).json()
        effects: list[dict[str, Any]] = record["effects"]
        return effects

    def _signature(
        self, method: str, path: str, headers: Mapping[str, str], signing: Signing
    ) -> dict[str, str]:
        where, mark, query = path.partition("?")
        covered = {"@method": method, "@path": where} | ({"@query": mark + query} if mark else {})
        covered |= {n: v for n, v in headers.items() if n != "upvest-signature-version"}
        covered = {n: v for n, v in covered.items() if n not in signing.left_out}
        now = int(time.time()) + signing.created
        nonce = signing.nonce if signing.nonce is not None else f"nonce-{next(self._nonces)}"
        lines = [f'"{name}": {value}' for name, value in covered.items()]
        lines += [f'"{name}": {headers.get(name, "")}' for name in signing.added]
        names = " ".join(f'"{name}"' for name in (*covered, *signing.added))
        params = (
            f'({names});keyid="{signing.key_id}";created={now}'
            f';expires={now + signing.expires};nonce="{nonce}"'
        )
        base = "\n".join([*lines, f'"@signature-params": {params}']).encode()
        made = signing.rewrite(
            self.key.sign(base, ECDSA(SHA512()))
            if isinstance(self.key, EllipticCurvePrivateKey)
            else self.key.sign(base)
        )
        signature = f"sig1=:{b64encode(made).decode()}:"
        return {"signature-input": f"sig1={params}", "signature": signature}


@asynccontextmanager
async def talking_upvest(
    options: UpvestOptions = PLAIN, *, scope: str | None = EVERYTHING
) -> AsyncIterator[UpvestTalk]:
    """Serve, connect and get a token of a scope (None for no token), then take it all down."""
    async with (
        serve_upvest(options) as server,
        httpx.AsyncClient(timeout=20.0, trust_env=False, verify=NO_TLS) as http,
    ):
        key = load_pem_private_key(server.private_pem, None)
        assert isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey)
        talk = UpvestTalk(server, http, key)
        if scope is not None:
            await talk.authorise(scope)
        yield talk
