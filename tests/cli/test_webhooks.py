"""`webhooks register | list | remove` against simulators, in every spelling that Bluum shows."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeVar

import pytest

from tests.cli.running import Commands
from tests.ledger import second
from worker.core.budget import NONE, Wish, gap_of
from worker.demo.ports import free_ports
from worker.ledger.migrate import migrate
from worker.ledger.store import open_ledger
from worker.providers.bluum_subscriptions import EVENTS
from worker.providers.upvest_subscriptions import EVENTS as UPVEST
from worker.simulator.bluum_server import BluumOptions, BluumServer, serve
from worker.simulator.bluum_webhooks import Activity, WebhookShape, WebhookTerms
from worker.simulator.faults import Faults, Reach
from worker.simulator.upvest_client_keys import make_key
from worker.simulator.upvest_client_keys import private_pem as client_pem
from worker.simulator.upvest_options import CLIENT_ID, CLIENT_SECRET, KEY_ID
from worker.simulator.upvest_server import UpvestOptions, serve_upvest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.postgres_node import PostgresNode
    from worker.simulator.bluum_webhooks import Subscription

_Server = TypeVar("_Server")

URL: Final = "https://payouts.example/webhooks/bluum"
SECRET: Final = "whsec_of_the_test"
NOT_ASKED: Final = (
    "Bluum was not asked: it wants a pause, or the ledger with the request budget is away; try"
    " again later"
)


class Desk:
    """Commands, and the simulator that they call."""

    def __init__(self, commands: Commands, server: BluumServer) -> None:
        self.run = commands
        self.server = server

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """What is subscribed at the provider."""
        return self.server.simulation.house.webhooks.subscriptions()

    def change(self, webhook_id: str, **changes: object) -> None:
        """Have somebody else change a subscription."""
        self.server.simulation.house.webhooks.change(webhook_id, changes)


@pytest.fixture(params=list(WebhookShape))
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """A simulator without subscriptions, once in each spelling."""
    terms = WebhookTerms(secret=SECRET, shape=request.param)
    options = BluumOptions(port=0, rate_limit=0, latency=timedelta(0), webhooks=terms)
    with _served(options) as server:
        yield Desk(_commands(server.base_url, tmp_path), server)


def test_registering_twice_is_registering_once(desk: Desk) -> None:
    """
    Made, then found as it is; the secret goes to standard output alone, ready for the settings.
    """
    first = desk.run("webhooks", "register", URL)
    second = desk.run("webhooks", "register", URL)
    (made,) = desk.subscriptions

    assert (0, f"WORKER_BLUUM__WEBHOOK__SECRET={SECRET}\n") == (first.exit_code, first.stdout)
    assert f"created: {made.id}  active  {URL}" in first.stderr
    assert (0, "") == (second.exit_code, second.stdout)
    assert f"unchanged: {made.id}" in second.stderr
    assert (URL, EVENTS) == (made.url, made.event_types)


def test_a_subscription_that_is_not_as_wanted_is_changed(desk: Desk) -> None:
    """
    Other events, or set inactive: the same one is mended, with a PATCH.
    """
    desk.run("webhooks", "register", URL, "--event", "order.*")
    (made,) = desk.subscriptions
    desk.change(made.id, activity=Activity.INACTIVE)
    mended = desk.run("webhooks", "register", URL, "--event", "order.*")
    changed = desk.run("webhooks", "register", URL, "--json")
    renewed = desk.run("webhooks", "register", URL, "--renew", "--json")
    (left,) = desk.subscriptions

    assert f"changed: {made.id}  active" in mended.stderr
    assert (made.id, EVENTS, Activity.ACTIVE) == (left.id, left.event_types, left.activity)
    assert {
        "id": made.id,
        "url": URL,
        "events": list(EVENTS),
        "is_active": True,
        "result": "changed",
        "secret": SECRET,
        "twins": [],
    } == json.loads(changed.stdout)
    assert json.loads(changed.stdout) == json.loads(renewed.stdout)


def test_a_secret_can_go_into_a_file(desk: Desk, tmp_path: Path) -> None:
    """
    Readable by its owner alone, and shown nowhere; a file that is there already is left alone.
    """
    path = tmp_path / "WORKER_BLUUM__WEBHOOK__SECRET"
    result = desk.run("webhooks", "register", URL, "--secret-file", str(path))
    again = desk.run("webhooks", "register", URL, "--renew", "--secret-file", str(path))

    assert 0 == result.exit_code
    assert SECRET not in result.output
    assert (SECRET, 0o600) == (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777)
    assert (2, f"{path}: there is such a file already\n") == (again.exit_code, again.stderr)


def test_an_event_that_bluum_does_not_have_is_not_subscribed_to(desk: Desk) -> None:
    """
    The known ones are named; without the check Bluum itself refuses, by its code.
    """
    event = ("--event", "withdrawal.completed")
    checked = desk.run("webhooks", "register", URL, *event)
    unchecked = desk.run("webhooks", "register", URL, *event, "--unchecked")

    assert (1, 1) == (checked.exit_code, unchecked.exit_code)
    assert "Bluum has no event withdrawal.completed; it has order.*," in checked.stderr
    assert unchecked.stderr.startswith("Bluum answered 400 BLUM-400-")
    assert () == desk.subscriptions


def test_the_list_shows_no_secret(desk: Desk) -> None:
    """
    A line for each subscription, or JSON.
    """
    empty = desk.run("webhooks", "list")
    desk.run("webhooks", "register", URL, "--event", "order.*")
    (made,) = desk.subscriptions
    lines = desk.run("webhooks", "list")
    document = desk.run("webhooks", "list", "--json")

    assert (0, "", "there are none\n") == (empty.exit_code, empty.stdout, empty.stderr)
    assert f"{made.id}  active  {URL}  order.*\n" == lines.stdout
    assert [{"id": made.id, "url": URL, "events": ["order.*"], "is_active": True}] == json.loads(
        document.stdout
    )


def test_removing_what_is_gone_is_no_failure(desk: Desk) -> None:
    """
    By id or by address, with all that have it; another one stays.
    """
    for url in (URL, f"{URL}/2", f"{URL}/3"):
        desk.run("webhooks", "register", url)
    first, second, third = desk.subscriptions
    desk.change(second.id, url=URL)
    twins = desk.run("webhooks", "register", URL)
    results = [
        desk.run("webhooks", "remove", URL),
        desk.run("webhooks", "remove", URL),
        desk.run("webhooks", "remove", third.id, "--json"),
    ]

    assert f"{second.id} has the same address" in twins.stderr
    assert [0, 0, 0] == [result.exit_code for result in results]
    assert f"removed {first.id}, {second.id}\n" == results[0].stdout
    assert f"there is no {URL}\n" == results[1].stdout
    assert {"removed": [third.id]} == json.loads(results[2].stdout)
    assert () == desk.subscriptions


@pytest.mark.parametrize(
    "url",
    ["http://payouts.example/webhooks/bluum", "payouts.example", "https://me:pw@host/webhooks"],
)
def test_an_address_that_is_none_is_wrong_use(url: str, tmp_path: Path) -> None:
    """
    Bluum wants https; nothing is called.
    """
    commands = _commands("http://127.0.0.1:1/v1", tmp_path)

    assert 2 == commands("webhooks", "register", url).exit_code


def test_what_stands_in_the_way_is_told(tmp_path: Path) -> None:
    """
    Nobody there, an outage, refused credentials: exit code 1 and a sentence, no trace.
    """
    (free,) = free_ports(1)
    away = _commands(f"http://127.0.0.1:{free}/v1", tmp_path)("webhooks", "list")
    with _served(BluumOptions(port=0, rate_limit=0)) as server:
        commands = _commands(server.base_url, tmp_path)
        server.set_faults(Faults(outage=True, calls=Reach.ALL))
        out = commands("webhooks", "remove", URL)
        server.set_faults(Faults())
        denied = commands("webhooks", "list", WORKER_BLUUM__API_SECRET="another")

    assert (1, 1, 1) == (away.exit_code, out.exit_code, denied.exit_code)
    assert "Bluum did not answer (connection); it is safe to try again\n" == away.stderr
    assert out.stderr.startswith("Bluum answered 503")
    assert "it refused the credentials" in denied.stderr


def test_upvest_is_told_apart_and_asked_for(tmp_path: Path) -> None:
    """
    Made, enabled and tested, found again, removed; the line for the settings says that it is on.
    """
    url = "https://payouts.example/webhooks/upvest"
    with _upvest(tmp_path) as commands:
        first = commands("webhooks", "register", url, "--test")
        second = commands("webhooks", "register", url, "--json")
        listed = commands("webhooks", "list", "--provider", "upvest", "--json")
        removed = commands("webhooks", "remove", url)
        none = commands("webhooks", "list")
    (entry,) = json.loads(listed.stdout)

    assert (0, "WORKER_UPVEST__WEBHOOK__ENABLED=true\n") == (first.exit_code, first.stdout)
    assert first.stderr.startswith(f"created: {entry['id']}  active  {url}")
    assert {"id": entry["id"], "url": url, "events": list(UPVEST), "is_active": True} == entry
    assert entry | {"result": "unchanged", "secret": None, "twins": []} == json.loads(second.stdout)
    assert f"removed {entry['id']}\n" == removed.stdout
    assert (0, "there are none\n") == (none.exit_code, none.stderr)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("https://192.0.2.1/webhooks/upvest",), "Upvest wants the name of a host"),
        (("https://payouts.example/other",), "its path is not WORKER_UPVEST__WEBHOOK__PATH"),
        (("https://payouts.example/webhooks/upvest", "--name", "a_b"), "Upvest wants 1 to 32"),
        (
            ("https://payouts.example/webhooks/upvest", "--secret-file", "secret"),
            "--secret-file: with upvest there is no secret",
        ),
    ],
)
def test_what_upvest_would_not_take_is_wrong_use(
    arguments: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    """
    It is said before anything is called.
    """
    result = _upvest_commands("http://127.0.0.1:1", b"", tmp_path)(
        "webhooks", "register", *arguments
    )

    assert 2 == result.exit_code
    assert expected in result.stderr


def test_the_provider_is_named_where_there_are_several(tmp_path: Path) -> None:
    """
    The only one that is enabled need not be; each has a secret of its own.
    """
    accounts = {
        "WORKER_BLUUM_ACCOUNTS__API_KEY": "simulator-key",
        "WORKER_BLUUM_ACCOUNTS__API_SECRET": "simulator-secret",
    }
    with _served(BluumOptions(port=0, rate_limit=0, webhooks=WebhookTerms(secret=SECRET))) as bluum:
        accounts["WORKER_BLUUM_ACCOUNTS__BASE_URL"] = bluum.base_url
        commands = _commands(bluum.base_url, tmp_path)
        which = commands("webhooks", "register", URL, **accounts)
        named = commands("webhooks", "register", URL, "--provider", "bluum_accounts", **accounts)
    absent = commands("webhooks", "list", "--provider", "upvest")
    nobody = commands("webhooks", "list", "--provider", "bank")

    assert (2, "--provider is needed: bluum, bluum_accounts are enabled\n") == (
        which.exit_code,
        which.stderr,
    )
    assert f"WORKER_BLUUM_ACCOUNTS__WEBHOOK__SECRET={SECRET}\n" == named.stdout
    assert (1, "upvest is not enabled: give its credentials\n") == (
        absent.exit_code,
        absent.stderr,
    )
    assert (2, "bank: expected bluum or bluum_accounts or upvest\n") == (
        nobody.exit_code,
        nobody.stderr,
    )


def test_calls_are_made_within_the_shared_request_budget(tmp_path: Path) -> None:
    """
    Where there is a ledger: a pause that the provider asked the workers for holds here too.
    """
    with _served(BluumOptions(port=0, rate_limit=0)) as server:
        commands = _commands(server.base_url, tmp_path)
        before = commands("webhooks", "list")
        asyncio.run(_pause(commands.environment["WORKER_LEDGER__URL"]))
        result = commands("webhooks", "list")
        calls = server.record()["counters"]["requests"]

    assert (0, "there are none\n") == (before.exit_code, before.stderr)
    assert (1, f"{NOT_ASKED}\n") == (result.exit_code, result.stderr)
    assert {"list_webhooks": 1} == calls


@pytest.fixture(params=["sqlite", "postgresql"])
def read_only_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that can be read, and not written: a file's bytes or a server say so."""
    if request.param == "sqlite":
        file = tmp_path / "ledger.db"
        asyncio.run(migrate(f"sqlite:///{file}"))
        with file.open("r+b") as opened:
            # The version of the format for those who write: of a higher one all may only be read.
            opened.seek(18)
            opened.write(b"\x03")
        return f"sqlite:///{file}"
    postgres: PostgresNode = request.getfixturevalue("postgres")
    url = postgres.create_database()
    asyncio.run(migrate(url))
    name = url.rpartition("/")[2]
    read_only = f"ALTER DATABASE {name} SET default_transaction_read_only = on"
    asyncio.run(second.write(url, read_only))
    return url


def test_a_ledger_that_takes_no_writes_is_done_without(read_only_url: str, tmp_path: Path) -> None:
    """
    As one that cannot be reached: a standby or another user's file has no budget to share.
    """
    with _served(BluumOptions(port=0, rate_limit=0)) as server:
        commands = _commands(server.base_url, tmp_path)
        result = commands("webhooks", "list", WORKER_LEDGER__URL=read_only_url)
        calls = server.record()["counters"]["requests"]

    assert (0, "there are none\n") == (result.exit_code, result.stderr)
    assert {"list_webhooks": 1} == calls


def test_credentials_are_checked_beside_a_ledger_that_takes_no_writes(
    read_only_url: str, tmp_path: Path
) -> None:
    """
    What is wrong with the ledger is not told as trouble with the provider.
    """
    with _served(BluumOptions(port=0, rate_limit=0)) as server:
        commands = _commands(server.base_url, tmp_path)
        result = commands(
            *("check", "--json"),
            WORKER_LEDGER__URL=read_only_url,
            WORKER_RABBITMQ__URL="amqp://127.0.0.1:1/",
        )

    assert ["credentials accepted"] == [
        finding["detail"] for finding in json.loads(result.stdout) if finding["name"] == "bluum"
    ]


def test_bluum_has_no_call_that_tests(desk: Desk) -> None:
    """
    Subscribed all the same, and told so.
    """
    result = desk.run("webhooks", "register", URL, "--test")

    assert (1, "created, and not tested: Bluum has no call that tests a subscription\n") == (
        result.exit_code,
        result.stderr,
    )
    assert 1 == len(desk.subscriptions)


async def _pause(url: str) -> None:
    """Make a ledger, and tell its request budget what a worker tells after a 429."""
    await migrate(url)
    async with open_ledger(url) as ledger:
        budget = f"bluum-{sha256(b'simulator-key').hexdigest()[:16]}"
        await ledger.reserve(budget, gap_of(5000), Wish(NONE, pause=600_000_000))


def _commands(base_url: str, folder: Path) -> Commands:
    return Commands(
        WORKER_LEDGER__URL=f"sqlite:///{folder / 'ledger.db'}",
        WORKER_BLUUM__API_KEY="simulator-key",
        WORKER_BLUUM__API_SECRET="simulator-secret",
        WORKER_BLUUM__BASE_URL=base_url,
        WORKER_BLUUM__RATE_LIMIT="5000",
    )


@contextmanager
def _upvest(folder: Path) -> Iterator[Commands]:
    """Commands whose only provider is a simulated Upvest."""
    with _running(serve_upvest(UpvestOptions(port=0, rate_limit=0))) as server:
        yield _upvest_commands(server.base_url, server.private_pem, folder)


def _upvest_commands(base_url: str, private_pem: bytes, folder: Path) -> Commands:
    key = folder / "key.pem"
    key.write_bytes(private_pem or client_pem(make_key()))
    return Commands(
        WORKER_LEDGER__URL=f"sqlite:///{folder / 'ledger.db'}",
        WORKER_UPVEST__BASE_URL=base_url,
        WORKER_UPVEST__CLIENT_ID=CLIENT_ID,
        WORKER_UPVEST__CLIENT_SECRET=CLIENT_SECRET,
        WORKER_UPVEST__KEY_ID=KEY_ID,
        WORKER_UPVEST__PRIVATE_KEY_FILE=str(key),
        WORKER_UPVEST__RATE_LIMIT="5000",
    )


def _served(options: BluumOptions) -> AbstractContextManager[BluumServer]:
    """Serve a simulated Bluum beside the commands."""
    return _running(serve(options))


@contextmanager
def _running(serving: AbstractAsyncContextManager[_Server]) -> Iterator[_Server]:
    """Serve beside the commands, which need an event loop of their own."""
    servers: list[_Server] = []
    is_ready, is_over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def live() -> None:
        async with serving as server:
            servers.append(server)
            is_ready.set()
            await is_over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    try:
        assert is_ready.wait(60)
        yield servers[0]
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join()
        loop.close()
