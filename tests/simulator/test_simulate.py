"""The command, as a process of its own and in this one."""

from __future__ import annotations

import base64
import hmac
import os
import signal
import socket

import httpx
import pytest
from typer.testing import CliRunner

from tests.app.warm import WarmCommand
from tests.simulator.receiver import receiving
from tests.simulator.talk import SALE
from worker.cli.simulate import simulate
from worker.simulator import bluum_terms


async def start(*options: str, command: str = "bluum") -> tuple[WarmCommand, str]:
    """Start the command on a free port; return the process and the URL it prints."""
    process = await WarmCommand.begun(
        *("simulate", command, "--port", "0", *options), environment=os.environ
    )
    line = (await process.stdout.readline()).decode()
    return process, line.split()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal_and_ends_well(number: signal.Signals) -> None:
    """
    It prints where it listens and nothing else, serves as it was told, and exits with 0.
    """
    process, base_url = await start("--api-secret", "s3cret", "--opening-balance", "5.00")
    async with httpx.AsyncClient(auth=("simulator-key", "s3cret"), trust_env=False) as client:
        investor = await client.get(f"{base_url}/investors/inv_1")
    process.send_signal(number)
    output, errors = await process.communicate()

    assert "5.00" == investor.json()["balance"]
    assert (0, b"", b"") == (process.returncode, output, errors)


async def test_terms_and_webhooks_can_be_set_at_start() -> None:
    """
    What orders bring, when it may leave, in which words it is told, and who is told by webhook.
    """
    async with receiving() as receiver:
        process, base_url = await start(
            *("--share-price", "2.50", "--settlement-delay", "1000", "--order-words", "legacy"),
            *("--webhook-url", receiver.url, "--webhook-event-key", "event_type"),
            *("--webhook-secret", "s3cret", "--webhook-prefix", "sha512="),
            *("--webhook-algorithm", "sha512", "--webhook-encoding", "base64"),
        )
        credentials = ("simulator-key", "simulator-secret")
        async with httpx.AsyncClient(auth=credentials, trust_env=False) as client:
            order = await client.post(f"{base_url}/investors/inv_poor/orders", json=SALE)
            letters = await receiver.arrived(2)
            investor = await client.get(f"{base_url}/investors/inv_poor")
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    digest = hmac.digest(b"s3cret", letters[0].body, "sha512")
    assert "accepted" == order.json()["status"]
    assert ("8.50", "1.00") == (investor.json()["balance"], investor.json()["cash_withdrawable"])
    assert ["order.accepted", "order.filled"] == [
        letter.document["event_type"] for letter in letters
    ]
    assert "sha512=" + base64.b64encode(digest).decode() == letters[0].headers["X-Bluum-Signature"]


async def test_faults_can_be_set_at_start() -> None:
    """
    Shares, their reach and an outage arrive at the server.
    """
    process, base_url = await start(
        "--fault",
        "drop_after=0.5",
        "--fault",
        "hang_before=0.25",
        "--fault-calls",
        "all",
        "--outage",
    )
    async with httpx.AsyncClient(trust_env=False) as client:
        faults = (await client.get(base_url.removesuffix("/v1") + "/_simulator/faults")).json()
    process.send_signal(signal.SIGTERM)
    await process.communicate()

    assert {
        "drop_after": 0.5,
        "hang_before": 0.25,
        "calls": "all",
        "outage": True,
    }.items() <= faults.items()


@pytest.mark.parametrize(
    ("command", "beginnings", "count"),
    [("bluum", ("inv_", "fs_", "SIM."), 20), ("bluum_accounts", ("0bad", "item_"), 11)],
)
def test_help_names_the_magic_ids(command: str, beginnings: tuple[str, ...], count: int) -> None:
    """
    Who asks for help learns the magic ids, the control calls and how to begin.
    """
    result = CliRunner().invoke(simulate, [command, "--help"], env={"COLUMNS": "200"})

    assert 0 == result.exit_code
    values = [v for v in vars(bluum_terms).values() if isinstance(v, str | tuple)]
    words = [word for v in values for word in (v if isinstance(v, tuple) else [v])]
    magic = {word for word in words if isinstance(word, str) and word.startswith(beginnings)}
    assert count == len(magic)
    for word in (*magic, "curl -u", "/_simulator/record", "/_simulator/wallets", "drop_after"):
        assert word in result.output


async def test_the_older_generation_is_served_by_a_command_of_its_own() -> None:
    """
    Its paths, its ids and, as it was told, its envelope; and none of the current one's calls.
    """
    process, base_url = await start("--answer-shape", "status", command="bluum_accounts")
    account = f"{base_url}/accounts/3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"
    plaid = {"item_id": "item_1", "account_id": "acc_1"}
    body = {"amount": "5.00", "method": "ach_plaid", "plaid_options": plaid}
    async with httpx.AsyncClient(auth=("simulator-key", "simulator-secret")) as client:
        created = await client.post(f"{account}/withdrawals", json=body)
        orders = await client.get(f"{account}/orders")
    process.send_signal(signal.SIGTERM)
    await process.communicate()

    assert "success" == created.json()["status"]
    assert created.json()["data"]["withdrawal_id"].startswith("wdr_")
    assert (404, "BLUM-404-002") == (orders.status_code, orders.json()["code"])
    assert 0 == process.returncode


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--fault", "drop_after"], "fault"),
        (["--fault", "earthquake=0.1"], "earthquake"),
        (["--fault", "drop_after=much"], "fault"),
        (["--fault", "drop_after=2"], "drop_after"),
        (["--opening-balance", "much"], "opening_balance"),
        (["--latency", "-1"], "latency"),
        (["--pace", "nan"], "pace"),
        (["--failure-share", "2"], "failure_share"),
        (["--key-lifetime", "0"], "key_lifetime"),
        (["--lateness", "-1"], "lateness"),
        (["--list-lag", "-1"], "list_lag"),
        (["--fill-delay", "-1"], "fill_delay"),
        (["--settlement-delay", "-1"], "settlement_delay"),
        (["--reversal-delay", "-1"], "reversal_delay"),
        (["--share-price", "0"], "share_price"),
        (["--opening-shares", "many"], "opening_shares"),
        (["--webhook-url", "example.com"], "url"),
        (["--webhook-retries", "1,soon"], "webhook_retries"),
        (["--webhook-retries", "1,-1"], "retry_delays"),
        (["--webhook-timeout", "0"], "timeout"),
        (["--webhook-signed-content", "timestamp.body"], "signed_content"),
        (["--api-key", ""], "api_key"),
    ],
)
def test_a_senseless_option_is_wrong_use(options: list[str], named: str) -> None:
    """
    Exit code 2, and the message names what is wrong.
    """
    result = CliRunner().invoke(simulate, ["bluum", *options], env={"COLUMNS": "200"})

    assert 2 == result.exit_code
    assert named in result.output


def test_a_taken_port_is_a_failure() -> None:
    """
    Exit code 1, and the message names the address.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(simulate, ["bluum", "--port", str(port)])

    assert 1 == result.exit_code
    assert f"127.0.0.1:{port}" in result.output
