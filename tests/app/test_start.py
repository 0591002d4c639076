"""How a worker starts: what it waits for, what it ends with a sentence for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from tests.app.harness import until
from worker.demo.ports import free_ports
from worker.simulator.faults import Faults, Reach

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.conftest import Start
    from tests.app.harness import Desk
    from worker.simulator.bluum_server import BluumServer


#: The whole command, from the start of Python on; the others are forked.
COLD: Final = pytest.mark.parametrize("program", ["worker"])


@COLD
async def test_it_becomes_ready_and_started(start: Start, tmp_path: Path) -> None:
    """
    With everything there, all three probes say ok, each check with its state and age.
    """
    worker = await start(f"sqlite:///{tmp_path}/ledger.db")
    await worker.ready()
    probes = [await worker.probe(path) for path in ("/livez", "/readyz", "/startupz")]

    assert [200, 200, 200] == [status for status, _ in probes]
    assert {"publisher", "consumer", "credentials", "ledger"} <= probes[1][1]["checks"].keys()
    assert "withdrawals_consumer_up 1.0" in await worker.metrics()


async def test_refused_credentials_take_nothing_and_mend_by_themselves(
    desk: Desk, start: Start, server: BluumServer, tmp_path: Path
) -> None:
    """
    Refused at the start and again in the middle: not ready, nothing rejected, then it goes on.
    """
    server.simulation.revoked = True
    worker = await start(f"sqlite:///{tmp_path}/ledger.db")
    await desk.ask("early")

    async def refused() -> bool:
        _, document = await worker.probe("/readyz")
        return "refused by bluum" in str(document)

    await until(refused, lambda: worker.output)
    assert [] == desk.heard

    server.simulation.revoked = False
    await worker.ready()
    await desk.have_ended(1)
    server.simulation.revoked = True
    await desk.ask("in the middle")
    await worker.ready(is_ready=False)
    server.simulation.revoked = False
    await desk.have_ended(2)

    assert "completed" == desk.statuses("in the middle")[-1]
    assert () == await desk.verdict()


async def test_a_provider_that_is_away_does_not_make_it_unready(
    desk: Desk, start: Start, server: BluumServer, tmp_path: Path
) -> None:
    """
    During an outage the worker is ready and the request waits; afterwards it is paid once.
    """
    server.set_faults(Faults(outage=True))
    worker = await start(f"sqlite:///{tmp_path}/ledger.db")
    await worker.ready()
    await desk.ask("patient")

    async def tried() -> bool:
        return "provider_retries_total" in await worker.metrics()

    await until(tried, lambda: worker.output)
    assert (200, "ok") == _verdict(await worker.probe("/readyz"))

    server.set_faults(Faults())
    await desk.have_ended(1)

    assert () == await desk.verdict()


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_provider_that_says_nothing_does_not_hold_the_start_up(
    start: Start, server: BluumServer, tmp_path: Path, *, is_there: bool
) -> None:
    """
    Whether it hangs or nobody listens there at all: the worker is ready without it.
    """
    server.set_faults(Faults(hang_before=1.0, calls=Reach.ALL))
    (free,) = free_ports(1)
    base_url = server.base_url if is_there else f"http://127.0.0.1:{free}/v1"
    worker = await start(
        f"sqlite:///{tmp_path}/ledger.db",
        WORKER_BLUUM__BASE_URL=base_url,
        WORKER_BLUUM__TIMEOUT="1",
    )
    await worker.ready()

    assert "consuming" in worker.output


async def test_a_second_worker_on_one_file_is_refused(start: Start, tmp_path: Path) -> None:
    """
    Two workers on one SQLite ledger: the second ends with 1 and says why.
    """
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    first = await start(ledger)
    await first.ready()

    second = await start(ledger)

    assert 1 == await second.ended()
    assert "another worker uses the ledger file" in second.output
    assert "WORKER_LEDGER__URL" in second.output
    assert first.process.returncode is None


async def test_a_taken_port_is_named(start: Start, tmp_path: Path) -> None:
    """
    A port that somebody else has: exit code 1 and a sentence, no trace.
    """
    taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    async with taken:
        worker = await start(f"sqlite:///{tmp_path}/ledger.db")
        await worker.kill()
        worker.take_port(taken.sockets[0].getsockname()[1])
        await worker.start()
        code = await worker.ended()

    assert 1 == code
    assert "WORKER_HTTP__PORT: cannot listen" in worker.output
    assert "address already in use" in worker.output
    assert "Traceback" not in worker.output


@COLD
async def test_bad_settings_end_with_2(start: Start, tmp_path: Path) -> None:
    """
    Each problem is a line that names its variable.
    """
    worker = await start(
        f"sqlite:///{tmp_path}/ledger.db",
        WORKER_RABBITMQ__PREFETCH="many",
        WORKER_POLLING__GROWTH="0",
    )

    assert 2 == await worker.ended()
    assert ["WORKER_POLLING__GROWTH", "WORKER_RABBITMQ__PREFETCH"] == sorted(
        line.partition(":")[0] for line in worker.output.splitlines()
    )


def _verdict(probe: tuple[int, dict[str, str]]) -> tuple[int, str]:
    return probe[0], probe[1]["status"]
