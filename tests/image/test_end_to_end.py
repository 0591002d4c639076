"""A payout through the image, as compose.yaml sets it up and tells to submit it.

Broker and database are the tests' own, outside of the image; nothing but addresses is exchanged."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import httpx

from tests.app.harness import LIMIT_SECONDS, until
from tests.compose.file import own_services, read, typed_into_worker
from tests.no_tls import NO_TLS
from worker.demo.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.image.conftest import Built
    from tests.image.container import Container
    from tests.services.postgres_node import PostgresNode

_COMPLETED: Final = 'withdrawals_transitions_total{provider="bluum",status="completed"} 1.0'


class Here:
    """compose.yaml's own services, with their addresses as they are on this machine."""

    def __init__(self, built: Built, amqp: str, ledger: str, folder: Path) -> None:
        self._built = built
        self._folder = folder
        self._services = own_services(read())
        self.probes, webhooks, self.simulator = free_ports(3)
        settings = self._services["worker"]["environment"]
        self._exchanged = {
            settings["WORKER_RABBITMQ__URL"]: amqp,
            settings["WORKER_LEDGER__URL"]: ledger,
            "127.0.0.1:8080": f"127.0.0.1:{self.probes}",
            "127.0.0.1:8081": f"127.0.0.1:{webhooks}",
            "127.0.0.1:8900": f"127.0.0.1:{self.simulator}",
            "--port=8900": f"--port={self.simulator}",
        }
        self._ports = {
            "WORKER_HTTP__PORT": str(self.probes),
            "WORKER_WEBHOOKS__PORT": str(webhooks),
        }

    @asynccontextmanager
    async def up(self, name: str) -> AsyncIterator[Container]:
        """Run a service as long as the context lasts."""
        command = [self._here(word) for word in self._services[name]["command"]]
        async with await self._built.runtime.start(
            command, environment=self._settings(name), log=self.log(name)
        ) as container:
            yield container

    async def inside(self, name: str, *words: str, stdin: str = "") -> tuple[int, str]:
        """Run a command with the settings of a service; return its exit code and what it wrote."""
        return await self._built.runtime.run(
            [self._here(word) for word in words],
            environment=self._settings(name),
            stdin=stdin.encode(),
        )

    async def healthy(self, name: str, url: str) -> None:
        """Wait until what is at this address is well; the service's own health check agrees."""
        kind, *words = self._services[name]["healthcheck"]["test"]

        async def well() -> bool:
            try:
                return (await _get(url)).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        await until(well, lambda: self.log(name).read_text())

        assert "CMD" == kind
        assert (0, "") == await self.inside(name, *words)

    def log(self, name: str) -> Path:
        """Where the service writes."""
        return self._folder / f"{name}.log"

    def _settings(self, name: str) -> dict[str, str]:
        given = self._services[name].get("environment", {})
        return {key: self._here(text) for key, text in given.items()} | (
            self._ports if given else {}
        )

    def _here(self, text: str) -> str:
        for there, here in self._exchanged.items():
            text = text.replace(there, here)
        return text


async def test_a_payout_goes_through(
    built: Built, rabbitmq_vhost: str, postgres: PostgresNode, tmp_path: Path
) -> None:
    """
    Typed as the head says, paid once and told by webhook; the worker ends with 0 on SIGTERM.
    """
    here = Here(built, rabbitmq_vhost, postgres.create_database(), tmp_path)
    submit, show = typed_into_worker()
    async with here.up("simulator") as simulator, here.up("migrate") as migrate:
        assert 0 == await migrate.wait(), here.log("migrate").read_text()
        await here.healthy("simulator", f"http://127.0.0.1:{here.simulator}/_simulator/healthz")
        async with here.up("worker") as worker:
            await here.healthy("worker", f"http://127.0.0.1:{here.probes}/readyz")
            checked, report = await here.inside("worker", "withdrawals-worker", "check")
            submitted, said = await here.inside("worker", *submit.words, stdin=submit.stdin)
            assert (0, 0) == (checked, submitted), report + said
            await _completed(here)
            shown, story = await here.inside("worker", *show.words)
            record = await _get(f"http://127.0.0.1:{here.simulator}/_simulator/record")

            worker.send_signal(signal.SIGTERM)
            async with asyncio.timeout(LIMIT_SECONDS):
                code = await worker.wait()
        simulator.send_signal(signal.SIGTERM)

        assert 0 == code, here.log("worker").read_text()
        assert 0 == await simulator.wait()

    assert 0 == shown
    assert "completed" in story
    assert 1 == len(record.json()["effects"])
    assert "Traceback" not in here.log("worker").read_text()


async def _completed(here: Here) -> None:
    """Wait until the worker counts it, and a webhook that it took."""
    page = ""

    async def counted() -> bool:
        nonlocal page
        page = (await _get(f"http://127.0.0.1:{here.probes}/metrics")).text
        return _COMPLETED in page and 'withdrawals_webhooks_total{provider="bluum",result=' in page

    await until(counted, lambda: page + here.log("worker").read_text())
    assert 'result="unverified"' not in page


async def _get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
        return await client.get(url)
