"""The way in: where a server listens, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from tests.simulator.talk import PLAIN, talking
from worker.simulator.bluum_server import BluumOptions, serve


async def test_a_free_port_is_picked() -> None:
    """
    Port 0 gives every server its own, and the URLs name it.
    """
    async with serve(PLAIN) as first, serve(PLAIN) as second:
        assert first.port != second.port
        assert f"http://127.0.0.1:{first.port}/v1" == first.base_url
        assert f"http://127.0.0.1:{first.port}/_simulator" == first.control_url


async def test_a_taken_port_is_an_error() -> None:
    """
    Whoever asks for a port that is taken hears of it.
    """
    async with serve(PLAIN) as first:
        with pytest.raises(OSError, match="address already in use"):
            async with serve(replace(PLAIN, port=first.port)):
                pytest.fail("two servers on one port")


async def test_nothing_stays_behind() -> None:
    """
    After the block nobody listens and no task is left.
    """
    async with talking() as talk:
        await talk.create()
        base_url = talk.server.base_url

    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(base_url)
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_two_servers_know_nothing_of_each_other() -> None:
    """
    Each has its own bank, so tests do not disturb one another.
    """
    async with talking() as first, talking() as second:
        await first.create()

        assert (1, 0) == (len(first.server.bank.effects), len(second.server.bank.effects))


def test_the_secret_is_not_shown() -> None:
    """
    Options can be logged without giving the secret away.
    """
    assert "s3cret" not in repr(BluumOptions(api_secret="s3cret"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_limit", -1),
        ("latency", timedelta(seconds=-1)),
        ("api_key", ""),
        ("api_key", "with:colon"),
        ("api_secret", ""),
    ],
)
def test_senseless_options_are_refused(name: str, value: object) -> None:
    """
    Options that make no sense are refused, and the field is named.
    """
    with pytest.raises(ValueError, match=name):
        BluumOptions(**{name: value})  # type: ignore[arg-type]
