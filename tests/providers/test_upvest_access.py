"""Tokens for Upvest: when one is got, who hears what when there is none; no token is shown."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP521R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.providers.builders import Clock
from tests.providers.stages import FAST, PATIENT, until
from worker.flows.journey import ids, within
from worker.providers.http import Line, Postponed, Reply, Silence
from worker.providers.pace import Alone, Pace
from worker.providers.upvest_access import Scope, UpvestAccess
from worker.providers.upvest_signature import UpvestSignature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from worker.providers.http import Outcome
    from worker.providers.upvest_signature import SigningKey

CLIENT_ID: Final = "ebabcf4d-61c3-4942-875c-e265a7c2d062"
SECRET: Final = "secret & that=nobody may see"
P521: Final = generate_private_key(SECP521R1())
ED25519: Final = Ed25519PrivateKey.generate()
KEYS: Final = pytest.mark.parametrize("key", [P521, ED25519], ids=["P-521", "Ed25519"])
SECOND: Final = timedelta(seconds=1)
LIFE: Final = 1800
PROBLEM: Final = {"type": "https://docs.upvest.co/errors/unauthorised", "status": 401}


@dataclass(slots=True)
class Desk:
    """Where tokens are given and calls are answered; what a test changes, the next call meets.

    `given` is laid over each answer with a token. Only `accepted` tokens open anything: all, while
    it is None.
    """

    base_url: str = ""
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    calls: list[web.Request] = field(default_factory=list)
    given: dict[str, object] = field(default_factory=dict)
    token_status: int = 200
    token_body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    accepted: set[str] | None = None
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    numbers: Any = field(default_factory=lambda: count(1))

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Give the next token, once it is open."""
        assert "Authorization" not in request.headers
        self.asked.append(parse_qs((await request.read()).decode(), strict_parsing=True))
        await self.is_open.wait()
        if self.token_status == 0:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        scope = self.asked[-1]["scope"][0]
        document = {
            "access_token": f"token-{next(self.numbers)}",
            "expires_in": LIFE,
            "token_type": "bearer",
            "scope": scope,
        } | self.given
        plain = {name: value for name, value in document.items() if value is not None}
        body = json.dumps(plain).encode() if self.token_body is None else self.token_body
        return web.Response(status=self.token_status, body=body, headers=self.headers)

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Answer any other call by its token."""
        self.calls.append(request)
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if self.accepted is not None and token not in self.accepted:
            return web.json_response(PROBLEM, status=401, headers=self.headers)
        return web.json_response({"token": token})

    @property
    def used(self) -> list[str]:
        """The tokens of the calls, in turn."""
        return [call.headers["Authorization"].removeprefix("Bearer ") for call in self.calls]


@dataclass(slots=True)
class Ground:
    """The access, its desk, the time, and what was observed of each exchange.

    So long as there are `waits`, each create call that waits for its turn takes the next of them.
    """

    access: UpvestAccess
    desk: Desk
    clock: Clock
    observed: list[str]
    waits: list[timedelta]

    async def read(self, **options: Any) -> Outcome:  # noqa: ANN401 - any option
        """Make a call that reads."""
        return await self.access.exchange(
            "look", "GET", "/w/1", **{"scope": Scope.PAYMENTS_READ, **options}
        )

    async def create(self, **options: Any) -> Outcome:  # noqa: ANN401 - any option
        """Make a call that changes something."""
        plain = {"scope": Scope.PAYMENTS_ADMIN, "headers": {"Idempotency-Key": "k-1"}}
        return await self.access.exchange(
            "create", "POST", "/w", **{**plain, "body": b'{"amount":"1.00"}', **options}
        )


@asynccontextmanager
async def grounded(key: SigningKey = ED25519, **fields: Any) -> AsyncIterator[Ground]:  # noqa: ANN401 - fields of the desk
    """Open an access with a real server behind it, whose doors are open."""
    desk, clock, observed = Desk(**fields), Clock(), list[str]()
    desk.is_open.set()
    application = web.Application()
    application.router.add_post("/auth/token", desk.token)
    application.router.add_route("*", "/{rest:.*}", desk.call)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    desk.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    nonces = count()
    waits: list[timedelta] = []

    def waited(operation: str, _seconds: float) -> None:
        if operation == "create" and waits:
            clock.now += waits.pop(0)

    line = Line(
        desk.base_url,
        auth=UpvestSignature(
            key=key,
            key_id="key-1",
            client_id=CLIENT_ID,
            now=clock,
            nonce=lambda: f"nonce-{next(nonces)}",
        ),
        pace=Pace(Alone(FAST).reserve, waited=waited),
        timeout=PATIENT,
        observe=lambda operation, said, _seconds: observed.append(f"{operation} {said}"),
        request_id_header="upvest-request-id",
    )
    access = UpvestAccess(line, client_id=CLIENT_ID, client_secret=SECRET, now=clock)
    try:
        async with access:
            yield Ground(access, desk, clock, observed, waits)
    finally:
        desk.is_open.set()
        await runner.cleanup()


def counting(asked: list[bool]) -> Callable[[], bool]:
    """A call that may leave, and counts how often it was asked whether it may."""

    def may_leave() -> bool:
        asked.append(True)
        return True

    return may_leave


@KEYS
async def test_a_token_is_asked_for_as_documented(key: SigningKey) -> None:
    """
    A form with the client's credentials and one scope; then its token is on the call.
    """
    async with grounded(key) as ground:
        outcome = await ground.create()

    assert isinstance(outcome, Reply)
    assert {"token": "token-1"} == outcome.document
    assert [
        {
            "client_id": [CLIENT_ID],
            "client_secret": [SECRET],
            "grant_type": ["client_credentials"],
            "scope": ["payments:admin"],
        }
    ] == ground.desk.asked
    assert ["token 2xx", "create 2xx"] == ground.observed


async def test_each_scope_has_a_token_of_its_own() -> None:
    """
    What reads cannot pay out; each token is asked for once.
    """
    async with grounded() as ground:
        for _ in range(2):
            await ground.read()
            await ground.create()

    assert ["token-1", "token-2"] * 2 == ground.desk.used
    assert ["payments:read", "payments:admin"] == [asked["scope"][0] for asked in ground.desk.asked]
    assert {scope for scope in Scope if scope.changes} == {
        Scope.PAYMENTS_ADMIN,
        Scope.ORDERS_ADMIN,
        Scope.WEBHOOKS_ADMIN,
    }


@KEYS
async def test_many_waiting_calls_cause_one_renewal(key: SigningKey) -> None:
    """
    All wait for the same token, and one that gives up takes it from nobody.
    """
    async with grounded(key) as ground:
        ground.desk.is_open.clear()
        calls = [asyncio.create_task(ground.read()) for _ in range(30)]
        await until(lambda: bool(ground.desk.asked))
        calls[0].cancel()
        await asyncio.wait(calls[:1])
        ground.desk.is_open.set()
        outcomes = await asyncio.gather(*calls[1:])

    assert calls[0].cancelled()
    assert {200} == {outcome.status for outcome in outcomes if isinstance(outcome, Reply)}
    assert 29 == len(outcomes) == len(ground.desk.calls)
    assert 1 == len(ground.desk.asked)


async def test_a_token_is_renewed_while_it_still_holds() -> None:
    """
    Nobody waits for that: calls go on with the old one until the new one is there.
    """
    async with grounded() as ground:
        await ground.read()
        ground.desk.is_open.clear()
        ground.clock.now += timedelta(seconds=0.8 * LIFE)
        await asyncio.gather(*(ground.read() for _ in range(5)))
        await until(lambda: len(ground.desk.asked) == 2)
        assert ["token-1"] * 6 == ground.desk.used
        ground.desk.is_open.set()
        await until(lambda: ground.observed.count("token 2xx") == 2)
        await ground.read()

    assert "token-2" == ground.desk.used[-1]
    assert 2 == len(ground.desk.asked)


async def test_a_token_that_is_over_is_not_used() -> None:
    """
    Not in its last seconds either: a call takes time on its way.
    """
    async with grounded() as ground:
        await ground.read()
        ground.clock.now += timedelta(seconds=LIFE - 9)
        await ground.read()

    assert ["token-1", "token-2"] == ground.desk.used


async def test_a_token_whose_life_ends_while_its_call_waits_is_replaced() -> None:
    """
    Whether it may leave is asked of the call that does leave, and not for ever.
    """
    asked: list[bool] = []
    over = timedelta(seconds=LIFE)
    async with grounded() as ground:
        ground.waits += [over, over]
        sent = await ground.create(may_leave=counting(asked))
        ground.waits += [over] * 10
        put_off = await ground.create(may_leave=counting(asked))

    assert isinstance(sent, Reply)
    assert ["token-3"] == ground.desk.used
    assert [True] == asked
    assert isinstance(put_off, Postponed)
    assert timedelta(0) < put_off.wait


async def test_what_may_not_leave_does_not_leave_with_a_token_either() -> None:
    """
    The caller's question decides.
    """
    async with grounded() as ground:
        outcome = await ground.create(may_leave=lambda: False)

    assert Postponed(timedelta(0)) == outcome
    assert [] == ground.desk.calls


@pytest.mark.parametrize(
    ("expires_in", "good_for", "over_after"),
    [
        (1799.5, 1300, 1790),
        ("1800", 1300, 1791),
        (4, 2, 4),
        (10**30, 60_000, 86_400),
        (None, 40, 60),
        ("soon", 40, 60),
        (True, 40, 60),
        ([], 40, 60),
        (float("inf"), 40, 60),
    ],
    ids=["fraction", "text", "short", "huge", "missing", "word", "true", "list", "infinite"],
)
async def test_any_expires_in_is_survived(
    expires_in: object, good_for: float, over_after: float
) -> None:
    """
    At most a day is believed, and a token without an end is used for a minute.
    """
    async with grounded(given={"expires_in": expires_in}) as ground:
        await ground.read()
        begun = ground.clock.now
        ground.clock.now = begun + timedelta(seconds=good_for)
        await ground.read()
        ground.clock.now = begun + timedelta(seconds=over_after)
        await ground.read()

    assert ["token-1", "token-1", "token-2"] == ground.desk.used


_BAD_TOKENS: Final = {
    "over": {"given": {"expires_in": 0}},
    "long over": {"given": {"expires_in": -1800}},
    "no token": {"given": {"access_token": None}},
    "empty": {"given": {"access_token": ""}},
    "a header of its own": {"given": {"access_token": "t\r\nX-Evil: 1"}},
    "not text": {"given": {"access_token": 7}},
    "too long": {"given": {"access_token": "t" * 9000}},
    "another type": {"given": {"token_type": "mac"}},
    "odd type": {"given": {"token_type": 1}},
    "no JSON": {"token_body": b"<html>"},
    "a list": {"token_body": b"[1]"},
    "500": {"token_status": 500},
    "503": {"token_status": 503, "token_body": b""},
    "302": {"token_status": 302, "headers": {"Location": "/elsewhere"}},
    "404": {"token_status": 404, "token_body": b"Not Found"},
    "400 of a proxy": {"token_status": 400, "token_body": b"Bad Request"},
    "403 of a proxy": {"token_status": 403, "token_body": b'{"type": ["x"]}'},
    "broken": {"token_status": 0},
}


@pytest.mark.parametrize("desk", _BAD_TOKENS.values(), ids=_BAD_TOKENS)
async def test_without_a_token_nothing_was_sent(desk: dict[str, Any]) -> None:
    """
    What changes something is put off, never in doubt; what reads hears of the silence.
    """
    async with grounded(**desk) as ground:
        created = await ground.create()
        read = await ground.read()
        admitted = await ground.access.admitted()

    assert isinstance(created, Postponed)
    assert timedelta(seconds=1) <= created.wait <= timedelta(seconds=10)
    assert isinstance(read, Silence)
    assert admitted is None
    assert [] == ground.desk.calls


async def test_after_a_failure_the_desk_is_left_alone_for_a_moment() -> None:
    """
    However many calls come: they hear what the first one heard. Then it is tried anew, and heals.
    """
    async with grounded(token_status=503) as ground:
        outcomes = [await ground.read() for _ in range(5)]
        assert 1 == len(ground.desk.asked)
        assert {Silence("no_token")} == set(outcomes)
        ground.desk.token_status = 200
        ground.clock.now += timedelta(seconds=3)
        assert isinstance(await ground.read(), Reply)
        # A clock that was set back makes no pause of an hour.
        ground.desk.token_status = 503
        ground.clock.now += timedelta(hours=2)
        assert isinstance(await ground.read(), Silence)
        ground.desk.token_status = 200
        ground.clock.now -= timedelta(hours=1)
        assert isinstance(await ground.read(), Reply)


async def test_a_desk_that_is_away_does_no_harm_while_the_token_holds() -> None:
    """
    Its renewal is tried again, not at each call.
    """
    async with grounded() as ground:
        await ground.create()
        ground.desk.token_status = 503
        ground.clock.now += timedelta(seconds=0.8 * LIFE)
        for _ in range(3):
            assert isinstance(await ground.create(), Reply)
            await until(lambda: "token 5xx" in ground.observed)

        assert 2 == len(ground.desk.asked)
        ground.clock.now += timedelta(seconds=3)
        await ground.create()
        await until(lambda: len(ground.desk.asked) == 3)

    assert {"token-1"} == set(ground.desk.used)


async def test_a_429_to_the_call_for_a_token_holds_everybody_back() -> None:
    """
    It is the same provider's limit; the create call was not sent.
    """
    async with grounded(token_status=429, headers={"Retry-After": "3000"}) as ground:
        created = await ground.create()
        read = await ground.read()

    assert isinstance(created, Postponed)
    assert isinstance(read, Postponed)
    assert timedelta(seconds=2000) < created.wait <= timedelta(seconds=3000)
    assert 1 == len(ground.desk.asked)


_REFUSED: Final = {
    "OAuth2": (401, {"error": "invalid_client"}),
    "OAuth2 400": (400, {"error": "invalid_client", "error_description": "who?"}),
    "scope": (400, {"error": "invalid_scope"}),
    "problem": (401, PROBLEM),
    "problem 400": (400, {"type": "https://docs.upvest.co/errors/invalid_request", "status": 400}),
    "problem 403": (403, {"type": "forbidden", "status": 403}),
    "401 of anybody": (401, []),
    "less than asked for": (200, {"access_token": "t", "expires_in": 1800, "scope": "other:read"}),
}


@pytest.mark.parametrize(("status", "document"), _REFUSED.values(), ids=_REFUSED)
async def test_refused_credentials_are_a_401_for_whoever_waits(
    status: int, document: object, caplog: pytest.LogCaptureFixture
) -> None:
    """
    In a problem document, which is how Upvest would say it to the call itself; nothing was sent.
    """
    headers = {"upvest-request-id": "r-1"}
    body = json.dumps(document).encode()
    async with grounded(token_status=status, token_body=body, headers=headers) as ground:
        outcomes = [await ground.create(), await ground.read()]
        admitted = await ground.access.admitted()

    for outcome in outcomes:
        assert isinstance(outcome, Reply)
        assert 401 == outcome.status
        assert outcome.document is not None
        assert {"type", "title", "status"} == set(outcome.document)
        assert 401 == outcome.document["status"]
        assert "r-1" == outcome.request_id
    assert admitted is False
    assert [] == ground.desk.calls
    errors = [record for record in caplog.records if record.getMessage() == "no token"]
    assert {logging.ERROR} == {record.levelno for record in errors}
    assert ["payments:admin", "payments:read"] == [vars(record)["scope"] for record in errors]


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (400, {"error": "invalid_scope"}),
        (403, {"type": "https://docs.upvest.co/errors/forbidden", "status": 403}),
    ],
    ids=["OAuth2", "problem"],
)
async def test_a_need_that_was_not_granted_stops_nothing_else(
    status: int, document: object
) -> None:
    """
    A client without orders does not sell, and pays out.
    """
    body = json.dumps(document).encode()
    async with grounded(token_status=status, token_body=body) as ground:
        sold = await ground.create(scope=Scope.ORDERS_ADMIN)
        looked = await ground.read(scope=Scope.ORDERS_READ)
        ground.desk.token_status, ground.desk.token_body = 200, None
        created = await ground.create()
        admitted = await ground.access.admitted()

    assert isinstance(sold, Postponed)
    assert isinstance(looked, Silence)
    assert isinstance(created, Reply)
    assert admitted is True


@KEYS
async def test_a_401_has_the_token_renewed_once_and_the_call_signed_anew(key: SigningKey) -> None:
    """
    The same key and bytes under another token, nonce and signature; it may leave each time.
    """
    asked: list[bool] = []
    async with grounded(key, accepted={"token-2"}) as ground:
        outcome = await ground.create(may_leave=counting(asked))

    assert isinstance(outcome, Reply)
    assert {"token": "token-2"} == outcome.document
    assert ["token-1", "token-2"] == ground.desk.used
    assert [True, True] == asked
    first, second = (call.headers for call in ground.desk.calls)
    alike = ("Idempotency-Key", "Content-Digest", "Content-Length")
    assert [first[name] for name in alike] == [second[name] for name in alike]
    assert first["Signature"] != second["Signature"]
    assert first["Signature-Input"] != second["Signature-Input"]


async def test_the_second_401_stands() -> None:
    """
    The credentials are refused then, and the call is not made for ever.
    """
    async with grounded(accepted=set()) as ground:
        outcome = await ground.create()

    assert isinstance(outcome, Reply)
    assert 401 == outcome.status
    assert ["token-1", "token-2"] == ground.desk.used


async def test_many_401s_cause_one_renewal() -> None:
    """
    A token that was replaced meanwhile is not replaced again.
    """
    async with grounded() as ground:
        await ground.read()
        ground.desk.accepted = {"token-2"}
        ground.desk.is_open.clear()
        calls = [asyncio.create_task(ground.read()) for _ in range(20)]
        await until(lambda: len(ground.desk.calls) == 21)
        ground.desk.is_open.set()
        outcomes = await asyncio.gather(*calls)

    assert {200} == {outcome.status for outcome in outcomes if isinstance(outcome, Reply)}
    assert 2 == len(ground.desk.asked)


async def test_no_token_after_a_401_leaves_nothing_in_doubt() -> None:
    """
    The call that was answered 401 was not carried out, and no other was sent.
    """
    async with grounded() as ground:
        await ground.create()
        ground.desk.accepted, ground.desk.token_status = set(), 0
        outcome = await ground.create()

    assert isinstance(outcome, Postponed)


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(90, [90]), (-3600, [-3600]), (1, [])],
    ids=["behind", "ahead", "alike"],
)
@pytest.mark.parametrize("at", ["token", "call"])
async def test_a_wrong_clock_is_named_where_we_are_refused(
    at: str, offset: int, expected: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """
    With the seconds by which it is behind: a signature is good for a minute.
    """
    date = {"Date": format_datetime(datetime.now(UTC) + timedelta(seconds=offset), usegmt=True)}
    async with grounded(accepted=set(), headers=date) as ground:
        ground.desk.token_status = 401 if at == "token" else 200
        ground.clock.now = datetime.now(UTC)
        await ground.read()

    named = [
        vars(record)["seconds_behind"]
        for record in caplog.records
        if record.getMessage() == "clock differs from the provider's"
    ]
    assert len(expected) == len(named)
    assert all(abs(wanted - found) < 30 for wanted, found in zip(expected, named, strict=True))


async def test_neither_secret_nor_token_is_ever_shown(caplog: pytest.LogCaptureFixture) -> None:
    """
    Not in logs of any level, nor in what can be looked at.
    """
    caplog.set_level(logging.DEBUG)
    async with grounded(given={"access_token": "token-nobody-may-see"}) as ground:
        first = await ground.create()
        shown = repr((first, ground.access, vars(ground.access)))
        ground.desk.accepted, ground.desk.token_status = set(), 401
        second = await ground.create()
        shown += repr((second, vars(ground.access)))

    logged = "".join(str(vars(record)) for record in caplog.records)
    for secret in (SECRET, "token-nobody-may-see"):
        assert secret not in logged
    # What the server said is in the reply's document, which shows nothing.
    assert "token-nobody-may-see" not in shown
    assert SECRET not in repr(ground.access)


async def test_a_token_is_asked_for_in_nobodys_name(caplog: pytest.LogCaptureFixture) -> None:
    """
    It is for all: what is said of it carries no ids of the withdrawal that lacked it first.
    """
    said: dict[str, dict[str, str]] = {}

    def keep(record: logging.LogRecord) -> bool:
        said[record.getMessage()] = dict(ids())
        return True

    caplog.handler.addFilter(keep)
    try:
        async with grounded(token_status=401) as ground:
            with within({"message_id": "m-1"}):
                await ground.read()
    finally:
        caplog.handler.removeFilter(keep)

    assert {} == said["no token"]


async def test_closing_ends_a_renewal_that_is_under_way() -> None:
    """
    Nothing is left behind that waits for a token.
    """
    async with grounded() as ground:
        ground.desk.is_open.clear()
        call = asyncio.create_task(ground.read())
        await until(lambda: bool(ground.desk.asked))
        renewals = {task for task in asyncio.all_tasks() if "_renewed" in repr(task.get_coro())}
        call.cancel()
        await asyncio.wait([call])
        await ground.access.__aexit__()
        assert renewals
        assert not renewals & asyncio.all_tasks()
