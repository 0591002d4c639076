"""The command `simulate upvest`, as a process of its own and in this one."""

from __future__ import annotations

import os
import signal
import stat
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from typer.testing import CliRunner

from tests.app.warm import WarmCommand
from worker.cli.main import app
from worker.cli.simulate_upvest import client_key
from worker.simulator import upvest_terms
from worker.simulator.upvest_client_keys import KeyKind, make_key, private_pem

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_serves_until_a_signal_and_gives_its_key_away(tmp_path: Path) -> None:
    """
    It prints where it listens, serves as it was told, exits with 0; only the owner reads the key.
    """
    path = tmp_path / "key.pem"
    options = ("--key-kind", "ed25519", "--write-private-key", str(path), "--list-lag", "5")
    process = await WarmCommand.begun(
        *("simulate", "upvest", "--port", "0", *options),
        *("--fault", "drop_after=0.5", "--fault-calls", "all"),
        environment=os.environ,
    )
    line = (await process.stdout.readline()).decode()
    async with httpx.AsyncClient(base_url=line.split()[-1], trust_env=False) as client:
        faults = (await client.get("/_simulator/faults")).json()
        unsigned = await client.get("/_simulator/record")
    process.send_signal(signal.SIGTERM)
    output, errors = await process.communicate()

    assert {"drop_after": 0.5, "calls": "all"}.items() <= faults.items()
    assert [] == unsigned.json()["effects"]
    assert isinstance(load_pem_private_key(path.read_bytes(), None), Ed25519PrivateKey)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert (0, b"", b"") == (process.returncode, output, errors)


def test_help_names_the_magic_ids() -> None:
    """
    Who asks for help learns the magic ids, the control calls and a worker's settings.
    """
    result = CliRunner().invoke(app, ["simulate", "upvest", "--help"], env={"COLUMNS": "200"})

    assert 0 == result.exit_code
    magic = {
        value
        for value in vars(upvest_terms).values()
        if isinstance(value, str) and value.startswith(("0bad", "ZZ"))
    }
    assert 17 == len(magic)
    for word in (*magic, "/_simulator/tokens", "WORKER_UPVEST__KEY_ID", "--write-private-key"):
        assert word in result.output


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--client-id", "me"], "client_id"),
        (["--client-secret", ""], "client_secret"),
        (["--scopes", "payments:read,everything"], "scopes"),
        (["--token-lifetime", "0"], "token_lifetime"),
        (["--clock-tolerance", "-1"], "tolerance"),
        (["--signature-lifetime", "0"], "lifetime_max"),
        (["--opening-balance", "much"], "opening_balance"),
        (["--pace", "nan"], "pace"),
        (["--funds-refusal", "418"], "418"),
        (["--funds-type", ""], "funds_type"),
        (["--key-lifetime", "0"], "key_lifetime"),
        (["--settlement-delay", "-1"], "settlement_delay"),
        (["--webhook-url", "example.com"], "url"),
        (["--webhook-retries", ""], "retry_delays"),
        (["--webhook-bundling", "-1"], "bundling"),
        (["--fault", "earthquake=0.1"], "earthquake"),
    ],
)
def test_a_senseless_option_is_wrong_use(options: list[str], named: str) -> None:
    """
    Exit code 2, and the message names what is wrong.
    """
    arguments = ["simulate", "upvest", *options]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})

    assert 2 == result.exit_code
    assert named in result.output


def test_a_key_that_was_written_is_used_again(tmp_path: Path) -> None:
    """
    A simulator that is started again knows its client, and overwrites nothing.
    """
    path = tmp_path / "key.pem"
    first = client_key(path, KeyKind.ECDSA)
    written = path.read_bytes()
    again = client_key(path, KeyKind.ED25519)
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="private_key"):
        client_key(path, KeyKind.ECDSA)

    assert written == private_pem(first) == private_pem(again)
    assert b"something else" == path.read_bytes()


@pytest.mark.parametrize("content", [b"no PEM", private_pem(make_key(KeyKind.ED25519))])
def test_what_is_no_public_key_is_wrong_use(content: bytes, tmp_path: Path) -> None:
    """
    Exit code 2 for a file without one; a private key is not asked for, and not shown.
    """
    path = tmp_path / "public.pem"
    path.write_bytes(content)
    arguments = ["simulate", "upvest", "--public-key", str(path)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})

    assert 2 == result.exit_code
    assert "public_key" in result.output
    assert content.decode() not in result.output
