"""Each command as its users run it: what it prints, where, and the exit code."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import aio_pika
import pytest

from tests.app.warm import WarmCommand, warm_simulator
from tests.cli.running import Commands
from tests.ledger import second
from worker.demo.ports import free_ports
from worker.rabbitmq import topology

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REQUEST = {
    "investor_id": "inv_1",
    "amount": "5.00",
    "currency": "USD",
    "method": "ach",
    "funding_source_id": "fs_1",
}


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    """The base URL of a simulator in a process of its own."""
    with warm_simulator() as base_url:
        yield base_url


def test_submit_puts_a_valid_request_into_the_queue(declared: Commands) -> None:
    """
    The message that lies in the queue is the file, byte by byte, under the given ids.
    """
    body = json.dumps(_REQUEST)

    result = declared("submit", "-", "--message-id", "m-1", "--correlation-id", "c-1", stdin=body)
    message = asyncio.run(_fetch(declared, topology.REQUESTS))

    assert 0 == result.exit_code, result.output
    assert (body.encode(), "m-1", "c-1") == message


def test_submit_refuses_what_the_worker_would_refuse(declared: Commands) -> None:
    """
    An invalid request is not published; the field and what was expected are told, exit code 2.
    """
    result = declared(
        "submit", "-", "--message-id", "m-1", stdin=json.dumps({**_REQUEST, "amount": 5})
    )

    assert 2 == result.exit_code
    assert result.stderr.startswith("not published: amount: expected a decimal string")
    assert asyncio.run(_fetch(declared, topology.REQUESTS)) is None


def test_submit_needs_a_message_id() -> None:
    """
    Nobody can be paid under an id that was made up on the way.
    """
    result = Commands()("submit", "-", stdin="{}")

    assert 2 == result.exit_code
    assert "--message-id" in result.stderr


def test_submit_names_a_file_that_cannot_be_read(commands: Commands) -> None:
    """
    A missing file is wrong use: its name and the reason, exit code 2.
    """
    result = commands("submit", "nowhere.json", "--message-id", "m-1")

    assert 2 == result.exit_code
    assert "nowhere.json: No such file or directory\n" == result.stderr


def test_submit_says_when_the_broker_did_not_confirm(commands: Commands) -> None:
    """
    Without a broker nothing is promised: exit code 1, and how to repeat safely.
    """
    result = commands(
        "submit",
        "-",
        "--message-id",
        "m-1",
        stdin=json.dumps(_REQUEST),
        WORKER_RABBITMQ__URL="amqp://guest:hidden-word@127.0.0.1:1/",
    )

    assert 1 == result.exit_code
    assert "same --message-id" in result.stderr
    assert "hidden-word" not in result.output


def test_submit_into_an_undeclared_broker_is_not_a_success(commands: Commands) -> None:
    """
    Where no queue takes requests the command fails rather than losing one.
    """
    result = commands("submit", "-", "--message-id", "m-1", stdin=json.dumps(_REQUEST))

    assert 1 == result.exit_code


def test_migrate_says_what_it_did(commands: Commands) -> None:
    """
    The first time makes the tables, the second finds nothing to do.
    """
    first, second = commands("migrate"), commands("migrate")

    assert (0, 0) == (first.exit_code, second.exit_code)
    assert "the ledger went from revision nothing to 0001\n" == first.stdout
    assert "the ledger is up to date (revision 0001)\n" == second.stdout


@pytest.mark.parametrize("wait", ["0", "0.1"])
def test_migrate_waits_for_a_server_no_longer_than_it_may(commands: Commands, wait: str) -> None:
    """
    Nobody listens there: at the end the sentence and exit code 1, before it one line in the log.
    """
    (port,) = free_ports(1)
    url = f"postgresql://me:hunter2@127.0.0.1:{port}/ledger"

    result = commands("migrate", "--wait", wait, WORKER_LEDGER__URL=url)
    lines = result.stderr.splitlines()

    assert 1 == result.exit_code
    assert (
        f"the ledger 127.0.0.1:{port}/ledger cannot be reached: nobody listens there "
        "(ConnectionRefusedError) (WORKER_LEDGER__URL)"
    ) == lines.pop()
    assert ["ledger away"] * (wait != "0") == [json.loads(line)["message"] for line in lines]
    assert "hunter2" not in result.output


@pytest.mark.parametrize("wait", ["0", "600"])
def test_migrate_says_at_once_what_no_waiting_mends(
    commands: Commands, tmp_path: Path, wait: str
) -> None:
    """
    A file where none can be kept, in the words of `run`; a URL with an option that means nothing.
    """
    (tmp_path / "taken").write_text("")
    unfit = f"{tmp_path}/taken/ledger.db"

    file = commands("migrate", "--wait", wait, WORKER_LEDGER__URL=f"sqlite:///{unfit}")
    option = commands(
        "migrate", "--wait", wait, WORKER_LEDGER__URL="postgresql://127.0.0.1:1/l?sslmode=never"
    )

    assert (1, 1) == (file.exit_code, option.exit_code)
    assert (
        f"the ledger file {unfit} cannot be used: {tmp_path}/taken is not a folder "
        "(WORKER_LEDGER__URL)\n"
    ) == file.stderr
    assert "an option behind the ? of the URL cannot be used" in option.stderr


def test_sigterm_is_heard_before_anything_is_imported() -> None:
    """
    Where the worker is the first process, a signal that nobody listens for is lost.
    """
    program = "import sys, worker.__main__; print(*sorted(sys.modules))"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    slow = {"asyncio", "config", "typer", "worker"}

    assert ["worker", "worker.__main__"] == [
        name for name in ended.stdout.decode().split() if name.partition(".")[0] in slow
    ]


async def test_sigterm_ends_a_command_that_waits(commands: Commands) -> None:
    """
    By a handler of ours, exit code 143: the default would not do where it is the first process.
    """
    away = {"WORKER_LEDGER__URL": "postgresql://127.0.0.1:1/ledger"}
    command = await WarmCommand.begun(
        "migrate", "--wait", "600", environment=commands.environment | away
    )
    first = json.loads(await command.stderr.readline())
    command.send_signal(signal.SIGTERM)
    rest = await command.communicate()

    assert "ledger away" == first["message"]
    assert (143, (b"", b"")) == (command.returncode, rest)


def test_show_knows_nothing_of_an_unknown_request(commands: Commands) -> None:
    """
    An id that is in no ledger: a sentence and exit code 1.
    """
    commands("migrate")

    result = commands("show", "nobody")

    assert 1 == result.exit_code
    assert "no request with the message id nobody is in the ledger\n" == result.stderr


def test_looking_never_makes_a_ledger(commands: Commands, tmp_path: Path) -> None:
    """
    `show` and `check` on a ledger that does not exist leave no file behind.
    """
    result = commands("show", "nobody")
    commands("check")

    assert 1 == result.exit_code
    assert "run `withdrawals-worker migrate`" in result.stderr
    assert [] == list(tmp_path.iterdir())


def test_check_finds_nothing_wrong(declared: Commands, simulator_url: str) -> None:
    """
    With broker, ledger and provider there: a line each, exit code 0.
    """
    declared("migrate")

    result = declared("check", WORKER_BLUUM__BASE_URL=simulator_url)

    assert 0 == result.exit_code, result.output
    assert ["ok   settings", "ok   broker", "ok   ledger", "ok   bluum"] == [
        line.partition(":")[0] for line in result.stdout.splitlines()
    ]


def test_the_call_of_a_check_counts_in_the_budget_of_the_workers(
    declared: Commands, simulator_url: str
) -> None:
    """
    It takes a slot of the key's one budget in the ledger, whose name does not hold the key.
    """
    declared("migrate")
    budgets = "SELECT name, next_at > 0 FROM budgets"
    before = asyncio.run(second.read(declared.environment["WORKER_LEDGER__URL"], budgets))
    for _ in range(2):
        declared("check", WORKER_BLUUM__BASE_URL=simulator_url)
    after = asyncio.run(second.read(declared.environment["WORKER_LEDGER__URL"], budgets))

    assert [] == before
    [(name, is_used)] = after
    assert is_used
    assert name.startswith("bluum-")
    assert "simulator-key" not in name


def test_check_names_what_is_wrong_and_how_to_mend_it(
    commands: Commands, simulator_url: str
) -> None:
    """
    Broker away, credentials refused: each is named with the setting to look at, exit code 1.
    """
    result = commands(
        "check",
        "--json",
        WORKER_RABBITMQ__URL="amqp://guest:hidden-word@127.0.0.1:1/",
        WORKER_BLUUM__BASE_URL=simulator_url,
        WORKER_BLUUM__API_SECRET="hidden-word",
    )
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}

    assert 1 == result.exit_code
    assert [True, False, True, False] == [f["holds"] for f in findings.values()]
    assert "WORKER_RABBITMQ__URL" in findings["broker"]["mend"]
    assert "127.0.0.1:1: nobody listens there (connection refused)" == findings["broker"]["detail"]
    assert "credentials refused" == findings["bluum"]["detail"]
    assert "WORKER_BLUUM__API_SECRET" in findings["bluum"]["mend"]
    assert "hidden-word" not in result.output


def test_check_tells_a_silent_provider_from_a_refusing_one(declared: Commands) -> None:
    """
    Nobody answers at the base URL: that setting is named, not the credentials.
    """
    result = declared("check", "--json")
    bluum = json.loads(result.stdout)[-1]

    assert 1 == result.exit_code
    assert "no usable answer" == bluum["detail"]
    assert "WORKER_BLUUM__BASE_URL" in bluum["mend"]


@pytest.mark.parametrize(
    ("ledger", "detail"),
    [
        ("sqlite:///{folder}/taken/ledger.db", "{folder}/taken is not a folder"),
        ("sqlite:///{folder}/taken", "{folder}/taken: it is no SQLite database (SQLITE_NOTADB)"),
        ("postgresql://me:pw@127.0.0.1:1/x", "127.0.0.1:1/x: nobody listens there"),
    ],
    ids=["no folder", "no database", "no server"],
)
def test_check_names_a_ledger_that_cannot_be(
    commands: Commands, tmp_path: Path, ledger: str, detail: str
) -> None:
    """
    Before a worker ends with it, or waits for it.
    """
    (tmp_path / "taken").write_bytes(b"not what SQLite would have written" * 99)
    result = commands("check", "--json", WORKER_LEDGER__URL=ledger.format(folder=tmp_path))
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}

    assert 1 == result.exit_code
    assert not findings["ledger"]["holds"]
    assert findings["ledger"]["detail"].startswith(detail.format(folder=tmp_path))
    assert "WORKER_LEDGER__URL" in findings["ledger"]["mend"]


def test_check_names_an_unsafe_queue(commands: Commands) -> None:
    """
    A classic queue under the worker's name can lose messages: the queue and the argument are named.
    """

    async def declare_unsafe() -> None:
        url = commands.environment["WORKER_RABBITMQ__URL"]
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            for exchange in topology.TOPOLOGY.exchanges:
                await channel.declare_exchange(exchange, "topic", durable=True)
            await channel.declare_queue(topology.REQUESTS, durable=True)

    asyncio.run(declare_unsafe())

    result = commands("check")

    assert 1 == result.exit_code
    assert "FAIL broker: " in result.stdout
    assert "queue withdrawals.requests can lose messages" in result.stdout


@pytest.mark.parametrize("command", [("run",), ("check",), ("migrate",), ("show", "m")])
def test_bad_settings_are_named_a_line_each(command: tuple[str, ...]) -> None:
    """
    Every problem is one line on standard error that names its variable; exit code 2.
    """
    commands = Commands(WORKER_RABBITMQ__PREFETCH="0", WORKER_BLUUM__API_KEY="key-only")

    result = commands(*command)
    lines = result.stderr.splitlines()

    assert 2 == result.exit_code
    assert {"WORKER_RABBITMQ__PREFETCH", "WORKER_BLUUM__API_SECRET"} == {
        line.partition(":")[0] for line in lines
    }


def test_help_lists_the_commands() -> None:
    """
    `--help` names every command of this release.
    """
    result = Commands()("--help")

    for command in ("run", "check", "migrate", "submit", "show", "simulate", "demo", "asyncapi"):
        assert f"\n  {command}" in result.stdout


async def _fetch(commands: Commands, queue: str) -> tuple[bytes, str | None, str | None] | None:
    url = commands.environment["WORKER_RABBITMQ__URL"]
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        got = await (await channel.get_queue(queue)).get(no_ack=True, fail=False)
        return None if got is None else (got.body, got.message_id, got.correlation_id)
